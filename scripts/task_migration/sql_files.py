"""Loads SQL statements by name from the .sql files beside the modules that use them.

A file contains named blocks. Each begins with a line ``-- name: some words``; text before the first such line belongs
to no block. aiosql and Procrastinate use the same format: psql and editors can read the files.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from psycopg import sql

_NAME = re.compile(r"^-- name: (?P<name>.+?)[ \t]*$", re.MULTILINE)


def folder() -> Traversable:
    """Returns the folder below which every .sql file of the core is."""
    return files("task_migration")


def blocks_of(text: str) -> dict[str, str]:
    """Returns the named blocks of a file's text, in the file's order."""
    pieces = _NAME.split(text)
    return {name: body.strip().rstrip(";") for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


@cache
def blocks(path: str) -> dict[str, str]:
    """Returns the named blocks of one file, by its path below task_migration/ ("sync/capture.sql").

    Raises FileNotFoundError if the file does not exist.
    """
    return blocks_of((folder() / path).read_text(encoding="utf-8"))


def statement(path: str, name: str, /, **identifiers: sql.Composable) -> sql.Composed:
    """Returns one named statement, with its ``{placeholders}`` replaced by identifiers or other composed SQL.

    Values are never inserted this way: they are psycopg parameters, ``%(name)s`` in the statement.
    Raises KeyError if the file has no block of that name.
    """
    return as_sql(blocks(path)[name]).format(**identifiers)


def as_sql(text: str) -> sql.SQL:
    """Returns text from one of this package's .sql files as composable SQL.

    psycopg's type hints require a literal, so that no value is ever inserted into SQL text; a file of this package is
    as safe as a literal. This function is the only place that relies on that.
    """
    return sql.SQL(text)
