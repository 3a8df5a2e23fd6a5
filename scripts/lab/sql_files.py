"""Reads the lab's SQL by name from the .sql files beside the modules that use them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from psycopg import sql
from task_migration.sql_files import as_sql, blocks_of


@cache
def blocks(path: str) -> dict[str, str]:
    """Returns the named blocks of one file, by its path below lab/ ("load/accounting.sql")."""
    return blocks_of((files("lab") / path).read_text(encoding="utf-8"))


def statement(path: str, name: str, **identifiers: sql.Composable) -> sql.Composed:
    """Returns one named block with its ``{placeholders}`` filled. Values are psycopg parameters, ``%(name)s``."""
    return as_sql(blocks(path)[name]).format(**identifiers)
