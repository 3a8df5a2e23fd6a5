"""What entries of a change log are about: rows, each of a unit, the kind of row that one write changes.

A task with its tags, its group and its approval is one unit, an image another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from task_migration.mapping.table_mapping import mappings
from task_migration.sync import change_log
from task_migration.sync.change_log import ChangeLogEntry
from task_migration.sync.table_shape import Shape


@dataclass
class ChangedRow:
    """The writes of one row that are on one side's log."""

    root: int
    claim: float | None = None
    entries: list[ChangeLogEntry] = field(default_factory=list)

    def add(self, entry: ChangeLogEntry) -> None:
        """One more write of it."""
        self.entries.append(entry)
        if entry.claim is not None:
            self.claim = entry.claim if self.claim is None else max(self.claim, entry.claim)


Keys = dict[str, dict[int, ChangedRow]]
"""For each unit the rows, by their keys, each with its writes."""


def task_unit() -> str:
    """The unit that the others belong to."""
    return next(mapping.base_table for mapping in mappings() if mapping.parent is None)


def rows_of(taken: Iterable[ChangeLogEntry]) -> Keys:
    """The rows that these entries are about."""
    task = task_unit()
    keys: Keys = {}
    for entry in taken:
        unit = change_log.unit_of(entry.part)
        name, key = (task, entry.root) if unit is None else (unit, entry.key)
        keys.setdefault(name, {}).setdefault(key, ChangedRow(entry.root)).add(entry)
    return keys


def of_unit(shapes: Iterable[Shape], unit: str) -> list[Shape]:
    """The shapes whose rows one write of this unit changes: the tables that are made of the same table of Laravel's."""
    return [shape for shape in shapes if shape.mapping.base_table == unit]
