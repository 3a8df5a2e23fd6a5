"""Reads reverse/<table>.sql: how a row of the Task Service is converted to a row of Laravel.

A SELECT on the Task Service's tables cannot return the ids of Laravel's users, which exist only in Laravel's database.
So the conversion has two parts: ``rows`` on the Task Service's side, and ``placed`` on Laravel's side, over the staged
rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Table
from dataclasses import dataclass
from functools import cache

from psycopg import sql

from task_migration import sql_files, yaml_files
from task_migration.errors import Refused
from task_migration.mapping import mapping_directory
from task_migration.mapping.table_mapping import Parent, mappings

_HEADER = re.compile(r"\A/\*\n(?P<yaml>.*?)\*/", re.DOTALL)
_SELECTED = re.compile(r"true /\* selected: (?P<column>\w+\.\w+) \*/")
_ROWS = re.compile(r"'\[\]' /\* rows \*/")
_KEYS = re.compile(r"'\{\}'::bigint\[\] /\* (?P<name>\w+) \*/")


@dataclass(frozen=True)
class Reverse:
    """One file of reverse/. ``unit`` is Laravel's table whose row one write changes; ``writes`` the table it writes."""

    unit: str
    key: str
    writes: str
    parent: Parent | None
    blocks: Table[str, str]

    def rows(self) -> sql.Composed:
        """Returns the SELECT on the Task Service's tables, for the keys in the statement's parameter ``keys``."""
        text = _SELECTED.sub(lambda found: f"{found['column']} = ANY (%(keys)s::bigint[])", self.blocks["rows"])
        return sql.Composed([sql_files.as_sql(text)])

    def over_staged(self, name: str) -> sql.Composed:
        """Returns a statement for Laravel's database over the staged rows, its parameter ``rows``, as JSON text.

        Its other parameters are arrays of keys: ``held``, ``retagged``, ``gone``, ``living``.
        """
        return sql.Composed(
            [
                sql_files.as_sql(
                    f"WITH staged AS ({_parameters(self.blocks['staged'])}) {_parameters(self.blocks[name])}"
                )
            ]
        )

    def plain(self, name: str) -> sql.Composed:
        """Returns a statement for Laravel's database that needs no staged rows."""
        return sql.Composed([sql_files.as_sql(_parameters(self.blocks[name]))])

    @property
    def after(self) -> list[str]:
        """Returns the names of the statements that follow the upsert, in order."""
        return [name for name in self.blocks if name.startswith("after, ")]


def _parameters(block: str) -> str:
    text = _ROWS.sub("%(rows)s::json", block)
    return _KEYS.sub(lambda found: f"%({found['name']})s::bigint[]", text)


def reverses() -> tuple[Reverse, ...]:
    """Returns every reverse mapping, parents before children. Raises Refused if one of Laravel's tables has none."""
    return _reverses(mapping_directory.chosen())


@cache
def _reverses(_: str) -> tuple[Reverse, ...]:
    read = [_parse(text) for text in mapping_directory.texts("reverse").values()]
    missing = {mapping.base_table for mapping in mappings()} - {one.unit for one in read}
    if missing:
        raise Refused(
            "a reverse mapping is missing, so the service must not receive writes yet",
            measured=f"no file in {mapping_directory.described('reverse')} with the unit {', '.join(sorted(missing))}",
            allowed="a reverse mapping for each of Laravel's tables that is the base of a mapping",
            next_step="write it as described in scripts/task_migration/mapping/task_service/reverse/README.md",
        )
    return tuple(sorted(read, key=lambda one: one.parent is not None))


def _parse(text: str) -> Reverse:
    found = _HEADER.match(text)
    if found is None:
        raise ValueError("a reverse mapping does not begin with a YAML comment")
    header = yaml_files.load(found["yaml"])
    parent = header.get("parent")
    return Reverse(
        header["unit"], header["key"], header["writes"], Parent(**parent) if parent else None, sql_files.blocks_of(text)
    )
