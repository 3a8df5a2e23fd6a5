"""Groups change-log entries by the row that they changed.

Each row belongs to a row group, the kind of row that one write changes: a task with its tags, its group and its
approval is one row group, an image another. A row group has the name of Laravel's table that it is made of.
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
    """The writes of one row that are on one side's log; ``written_at`` is the time of the newest."""

    task_id: int
    written_at: float | None = None
    entries: list[ChangeLogEntry] = field(default_factory=list)

    def add(self, entry: ChangeLogEntry) -> None:
        """Adds one write of the row."""
        self.entries.append(entry)
        if entry.written_at is not None:
            self.written_at = entry.written_at if self.written_at is None else max(self.written_at, entry.written_at)


ChangedRows = dict[str, dict[int, ChangedRow]]
"""For each row group the changed rows, by their keys."""


def task_group() -> str:
    """Returns the row group that the others belong to."""
    return next(mapping.base_table for mapping in mappings() if mapping.parent is None)


def changed_rows(entries: Iterable[ChangeLogEntry]) -> ChangedRows:
    """Returns the rows that these entries are about."""
    task = task_group()
    rows: ChangedRows = {}
    for entry in entries:
        row_group = change_log.row_group_of(entry.source_table)
        name, key = (task, entry.task_id) if row_group is None else (row_group, entry.key)
        rows.setdefault(name, {}).setdefault(key, ChangedRow(entry.task_id)).add(entry)
    return rows


def shapes_of(shapes: Iterable[Shape], row_group: str) -> list[Shape]:
    """Returns the shapes whose rows one write of this row group changes: those made of the same table of Laravel's."""
    return [shape for shape in shapes if shape.mapping.base_table == row_group]
