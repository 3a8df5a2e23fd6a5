"""What a database's catalogs hold, by names, so that two moments can be compared."""

from __future__ import annotations

from typing import Any

import psycopg

_OURS = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
_ASKED = {
    "schemas": f"SELECT nspname, pg_get_userbyid(nspowner), nspacl::text FROM pg_namespace WHERE nspname {_OURS}",
    "relations": f"""
        SELECT n.nspname, c.relname, c.relkind, pg_get_userbyid(c.relowner), c.relacl::text, c.reloptions::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname {_OURS}""",
    "columns": f"""
        SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attacl::text
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname {_OURS} AND a.attnum > 0""",
    "triggers": f"""
        SELECT CASE WHEN tgisinternal THEN 'internal' ELSE tgname END, tgrelid::regclass::text, tgenabled,
               CASE WHEN NOT tgisinternal THEN pg_get_triggerdef(t.oid) END, obj_description(t.oid, 'pg_trigger')
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname {_OURS}""",
    "functions": f"""
        SELECT n.nspname, proname, pg_get_functiondef(p.oid), proacl::text
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname {_OURS}""",
    "constraints": f"""
        SELECT n.nspname, conname, conrelid::regclass::text, pg_get_constraintdef(k.oid), convalidated
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE n.nspname {_OURS}""",
    "types": f"SELECT n.nspname, typname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace"
    f" WHERE n.nspname {_OURS}",
}


def catalog_of(dsn: str) -> dict[str, list[Any]]:
    """Everything that was created in the database, sorted; ``dsn`` as anybody, catalogs are open to all."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return {what: sorted(map(str, connection.execute(asked))) for what, asked in _ASKED.items()}
