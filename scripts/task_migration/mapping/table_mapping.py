"""Reads mapping/<table>.sql: the rows of a Task Service table, as SELECTs on Laravel's tables.

All code that copies, syncs, checks or repairs rows gets its SQL from a Mapping. The conversion is defined nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Table
from dataclasses import dataclass
from functools import cache
from typing import Literal

import yaml
from psycopg import sql

from task_migration import sql_files, yaml_files
from task_migration.errors import Refused
from task_migration.mapping import mapping_directory
from task_migration.mapping.selector import KeyParameter, Selector

_HEADER = re.compile(r"\A/\*\n(?P<yaml>.*?)\*/", re.DOTALL)
_SELECTED = re.compile(r"true /\* selected: (?P<column>\w+\.\w+) \*/")


@dataclass(frozen=True)
class Column:
    """One line of the column ledger: what happens to one of Laravel's columns."""

    type: str
    fate: Literal["moved", "derived", "kept"]
    reason: str = ""


@dataclass(frozen=True)
class Captured:
    """What the change log captures of one of Laravel's tables."""

    column: str
    root: str | None = None
    updates_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parent:
    """The Task Service table with the parents of the rows, and the column that refers to the parent."""

    table: str
    column: str


@dataclass(frozen=True)
class Mapping:
    """One mapping file. mapping/task_service/mapping/README.md describes the fields."""

    table: str
    key: str
    base_table: str
    base_column: str
    parent: Parent | None
    chunk_width: int
    destination_owned: Table[str, str]
    destination_only: str
    finer: Table[str, Table[str, tuple[str, ...]]]
    owner: str | None
    captured: Table[str, Captured]
    ledger: Table[str, Table[str, Column]]
    blocks: Table[str, str]

    @property
    def root_column(self) -> str:
        """Returns the base table's column with the task that a row belongs to."""
        return self.captured[self.base_table].root or self.base_column

    def candidates(self, selector: Selector | KeyParameter | None = None) -> sql.Composed:
        """Returns a SELECT of one column, ``key``: every row that the plan moves."""
        return _select(self.blocks["candidates"], selector)

    def rows(self, selector: Selector | KeyParameter | None = None) -> sql.Composed:
        """Returns a SELECT of the mapped rows, with the Task Service's column names."""
        return _select(self.blocks["rows"], selector)

    def quarantine(self, selector: Selector | KeyParameter | None = None) -> sql.Composed:
        """Returns a SELECT of ``key, kind, held_back, reason``."""
        return _select(self.blocks["quarantine"], selector)

    def touched_by(self, table: str, selector: Selector | KeyParameter) -> sql.Composed | None:
        """Returns a SELECT of ``key``: the mapped rows that the selected rows of Laravel's ``table`` may change.

        None if the selected keys are the result (``table`` is the base), or if the mapping does not read ``table``.
        """
        block = self.blocks.get(f"touched by {table}")
        return None if block is None else _select(block, selector)


def _select(block: str, selector: Selector | KeyParameter | None) -> sql.Composed:
    """Returns a block with the selector inserted in each marked place; without a selector it selects all rows."""
    if isinstance(selector, KeyParameter):
        block = block.replace("%", "%%")  # a statement with parameters is read by psycopg
    pieces = _SELECTED.split(block)
    composed: list[sql.Composable] = [sql_files.as_sql(pieces[0])]
    for column, text in zip(pieces[1::2], pieces[2::2], strict=True):
        composed.append(sql.SQL("true") if selector is None else selector.condition(sql.Identifier(*column.split("."))))
        composed.append(sql_files.as_sql(text))
    return sql.Composed(composed)


def parse(table: str, text: str) -> Mapping:
    """Parses a mapping file. Raises ValueError if its YAML comment, a key or a block is missing."""
    found = _HEADER.match(text)
    if found is None:
        raise ValueError(f"the mapping of {table} does not begin with a YAML comment")
    header = yaml_files.load(found["yaml"])
    blocks = sql_files.blocks_of(text)
    if missing := {"candidates", "rows", "quarantine"} - blocks.keys():
        raise ValueError(f"the mapping of {table} has no block {sorted(missing)}")
    if header["base"]["table"] not in header["capture"]:
        raise ValueError(f"the mapping of {table} does not capture its base table")
    parent = header.get("parent")
    return Mapping(
        table=table,
        key=header["key"],
        base_table=header["base"]["table"],
        base_column=header["base"]["column"],
        parent=Parent(**parent) if parent else None,
        chunk_width=header.get("chunk_width", 1),
        destination_owned=header.get("destination_owned", {}),
        destination_only=header.get("destination_only", "false"),
        finer={
            column: {value: tuple(kinds) for value, kinds in values.items()}
            for column, values in header.get("finer", {}).items()
        },
        owner=header.get("owner"),
        captured={
            name: Captured(entry["column"], entry.get("root"), tuple(entry.get("updates_of", ())))
            for name, entry in header["capture"].items()
        },
        ledger={
            name: {column: Column(*entry) for column, entry in columns.items()}
            for name, columns in header.get("ledger", {}).items()
        },
        blocks=blocks,
    )


def mappings() -> tuple[Mapping, ...]:
    """Returns every mapping of the service, parents before children. Raises Refused if a file is not valid."""
    return _mappings(mapping_directory.chosen())


@cache
def _mappings(_: str) -> tuple[Mapping, ...]:
    try:
        ordered = _ordered({table: parse(table, text) for table, text in mapping_directory.texts("mapping").items()})
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise Refused(
            f"a file in {mapping_directory.described('mapping')} is not a valid mapping",
            measured=f"{type(error).__name__}: {error}",
            allowed="the format in scripts/task_migration/mapping/task_service/mapping/README.md",
            next_step="correct that file, then run the same command again",
        ) from error
    roots = [mapping for mapping in ordered if mapping.parent is None]
    if len(roots) != 1 or roots[0].root_column != roots[0].base_column:
        raise Refused(
            f"the mappings of {mapping_directory.described('mapping')} are not of one service",
            measured=", ".join(f"{root.table} without a parent, its root {root.root_column}" for root in roots),
            allowed="one table without a parent, which is its own root; all others below it",
            next_step="use a separate folder for each service",
        )
    return ordered


def _ordered(read: Table[str, Mapping]) -> tuple[Mapping, ...]:
    """Returns the mappings, parents before children."""
    ordered: dict[str, Mapping] = {}
    while len(ordered) < len(read):
        ready = [
            mapping
            for mapping in read.values()
            if mapping.table not in ordered and (mapping.parent is None or mapping.parent.table in ordered)
        ]
        if not ready:
            raise ValueError(f"the parents of {sorted(read.keys() - ordered.keys())} are not mapped tables")
        ordered.update((mapping.table, mapping) for mapping in ready)
    return tuple(ordered.values())


def children_of(table: str) -> tuple[Mapping, ...]:
    """Returns the mappings whose rows have their parent in ``table``."""
    return tuple(mapping for mapping in mappings() if mapping.parent is not None and mapping.parent.table == table)


def captured_tables() -> dict[str, Captured]:
    """Returns what the change log captures of Laravel's tables, for all mappings together."""
    together: dict[str, Captured] = {}
    for mapping in mappings():
        for table, captured in mapping.captured.items():
            known = together.setdefault(table, captured)
            if known != captured:
                raise ValueError(f"{mapping.table} captures {table} differently from another mapping")
    return together


def ledger() -> dict[str, Table[str, Column]]:
    """Returns the column ledger of every Laravel table, for all mappings together."""
    return {table: columns for mapping in mappings() for table, columns in mapping.ledger.items()}
