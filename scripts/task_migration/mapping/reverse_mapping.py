"""What a row of the Task Service's is in Laravel's words: reverse/<table>.sql, read.

The SELECT over the Task Service's tables can't name Laravel's users, who have numbers only in Laravel's database. So it
has two halves: ``rows`` there, and ``placed`` here, over the rows that were staged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Table
from dataclasses import dataclass
from functools import cache

import yaml
from psycopg import sql

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.mapping import mapping_directory
from task_migration.mapping.table_mapping import Parent, mappings

_HEADER = re.compile(r"\A/\*\n(?P<yaml>.*?)\*/", re.DOTALL)
_SELECTED = re.compile(r"true /\* selected: (?P<column>\w+\.\w+) \*/")
_ROWS = re.compile(r"'\[\]' /\* rows \*/")
_KEYS = re.compile(r"'\{\}'::bigint\[\] /\* (?P<name>\w+) \*/")


@dataclass(frozen=True)
class Reverse:
    """One file of sql/reverse/. ``unit`` is the kind of row that one write changes; ``writes``, Laravel's table."""

    unit: str
    key: str
    writes: str
    parent: Parent | None
    blocks: Table[str, str]

    def rows(self) -> sql.Composed:
        """SELECT over the Task Service's tables, of the keys in the statement's parameter ``keys``."""
        text = _SELECTED.sub(lambda found: f"{found['column']} = ANY (%(keys)s::bigint[])", self.blocks["rows"])
        return sql.Composed([sql_files.as_sql(text)])

    def over_staged(self, name: str) -> sql.Composed:
        """A statement in Laravel's database over the staged rows, which are the parameter ``rows``, as JSON text.

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
        """A statement in Laravel's database that needs no staged row."""
        return sql.Composed([sql_files.as_sql(_parameters(self.blocks[name]))])

    @property
    def after(self) -> list[str]:
        """The statements that follow the upsert, in order."""
        return [name for name in self.blocks if name.startswith("after, ")]


def _parameters(block: str) -> str:
    text = _ROWS.sub("%(rows)s::json", block)
    return _KEYS.sub(lambda found: f"%({found['name']})s::bigint[]", text)


def reverses() -> tuple[Reverse, ...]:
    """Every way back, parents before children. Raises Refused if there is none for a table of Laravel's."""
    return _reverses(mapping_directory.chosen())


@cache
def _reverses(_: str) -> tuple[Reverse, ...]:
    read = [_parse(text) for text in mapping_directory.texts("reverse").values()]
    lacking = {mapping.base_table for mapping in mappings()} - {one.unit for one in read}
    if lacking:
        raise Refused(
            "there is no way back for what the service writes, so it may not take any write yet",
            measured=f"no file in {mapping_directory.described('reverse')} whose unit is {', '.join(sorted(lacking))}",
            allowed="a way back for each table of Laravel's that a mapping has as its base",
            next_step="write it, as scripts/task_migration/mapping/task_service/reverse/README.md says",
        )
    return tuple(sorted(read, key=lambda one: one.parent is not None))


def _parse(text: str) -> Reverse:
    found = _HEADER.match(text)
    if found is None:
        raise ValueError("a way back does not begin with a comment in YAML")
    header = yaml.safe_load(found["yaml"])
    parent = header.get("parent")
    return Reverse(
        header["unit"], header["key"], header["writes"], Parent(**parent) if parent else None, sql_files.blocks_of(text)
    )
