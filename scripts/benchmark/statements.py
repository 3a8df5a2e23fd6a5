"""Reads the benchmark's SQL by name from sql/benchmark.sql."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from psycopg import sql
from task_migration.sql_files import as_sql, blocks_of


@cache
def _blocks() -> dict[str, str]:
    return blocks_of((files("benchmark") / "sql" / "benchmark.sql").read_text(encoding="utf-8"))


def names(beginning: str) -> list[str]:
    """Returns the names of the blocks with this prefix, in the file's order."""
    return [name for name in _blocks() if name.startswith(beginning)]


def statement(name: str, **identifiers: sql.Composable) -> sql.Composed:
    """Returns one named block with its ``{placeholders}`` filled. Values are psycopg parameters, ``%(name)s``."""
    return as_sql(_blocks()[name]).format(**identifiers)
