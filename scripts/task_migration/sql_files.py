"""SQL statements, read by name from the .sql files beside the modules that use them.

A file holds blocks, each begun by a line ``-- name: some words``; what stands before the first such line belongs to no
block. The form is that of aiosql and of Procrastinate: psql and editors read the files as they are.
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
    """The named blocks of a file's text, in the order in which they stand there."""
    pieces = _NAME.split(text)
    return {name: body.strip().rstrip(";") for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


@cache
def blocks(path: str) -> dict[str, str]:
    """The named blocks of one file, by its path below task_migration/ ("sync/capture.sql").

    Raises FileNotFoundError if there is no such file.
    """
    return blocks_of((folder() / path).read_text(encoding="utf-8"))


def statement(path: str, name: str, /, **identifiers: sql.Composable) -> sql.Composed:
    """One named statement, its ``{placeholders}`` filled with identifiers or other composed SQL.

    Values never come this way: they go as psycopg parameters, ``%(name)s`` in the statement.
    Raises KeyError if the file has no block of that name.
    """
    return as_sql(blocks(path)[name]).format(**identifiers)


def as_sql(text: str) -> sql.SQL:
    """Text that came out of one of our .sql files as composable SQL.

    psycopg asks for a literal so that no value is ever pasted into SQL; a file of this package is as good as one. This
    is the only place that makes the claim.
    """
    return sql.SQL(text)
