"""Laravel -> Task Service through the Task Service's API: one request writes a whole task with all that belongs to it.

Lanes and the change log work as for the sink ``database``. A task that the API refuses is held back like a row that the
database refuses; a task that it did not acknowledge goes back on the log with the time of its write.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from task_migration.sync.api_client import ApiClient, ApiResult
from task_migration.sync.batch import BatchWrites, PipelinedQuery
from task_migration.sync.changed_rows import ChangedRow, ChangedRows
from task_migration.sync.converge import REFUSED_BY_API, Flow
from task_migration.sync.forward import Forward, store_quarantine

FAILURES = 3
"""How often a task may fail, each time with all of its attempts, while others succeed."""


class ForwardByApi(Forward):
    """Writes batches to the Task Service if only its API may write to its database."""

    def __init__(self, flow: Flow, sink: ApiClient) -> None:
        super().__init__(flow)
        self._sink = sink
        self._failures: dict[int, int] = {}

    def derive(self, rows: ChangedRows) -> ChangedRows:
        """Adds the task of each changed row, and all rows of each task: a request writes a whole task."""
        (task,) = {shape.mapping.base_table for shape in self.flow.shapes if shape.mapping.parent is None}
        for row_group in [row_group for row_group in rows if row_group != task]:
            for row in list(rows[row_group].values()):
                rows.setdefault(task, {}).setdefault(row.task_id, ChangedRow(row.task_id, row.written_at))
        return super().derive(rows)

    def lock(self, rows: ChangedRows) -> Callable[[], dict[int, str]]:
        """Locks nothing: the API locks what it writes."""
        return dict

    def write(self, rows: ChangedRows, owners: dict[int, str], once_more: PipelinedQuery) -> BatchWrites:
        """Sends every task of the batch."""
        mapped, quarantine = self._read_laravel(rows)
        (task,) = {shape.mapping.base_table for shape in self.flow.shapes if shape.mapping.parent is None}
        wanted: dict[int, dict[str, Any] | None] = dict.fromkeys(rows.get(task, {}))
        for row in json.loads(mapped["tasks"].rows):
            wanted[row["id"]] = {**row, "group": None, "approval": None, "images": []}
        for table, name in (("group_tasks", "group"), ("task_approvals", "approval"), ("task_images", "images")):
            for row in json.loads(mapped[table].rows):
                whole = wanted.get(row.pop("task_id"))
                if whole is None:
                    continue
                if name == "images":
                    whole[name].append(row)
                else:
                    whole[name] = row
        # Tasks that failed before are sent last: the API may fail because of them, which would stop the others.
        sent = self._sink.send(dict(sorted(wanted.items(), key=lambda one: self._failures.get(one[0], 0))))
        failing = self._failing(sent)
        refused = {**sent.refused, **dict.fromkeys(failing, sent.problem)}
        quarantine += [(task, key, REFUSED_BY_API, True, reason) for key, reason in refused.items()]
        undone = {key: rows[task][key].task_id for key in sent.undone if key not in failing}
        done = BatchWrites(updated=len(sent.done), problem=sent.problem if undone else "")
        if undone:
            done.waiting[task] = undone
        for row_group, changed in rows.items():
            tables = {shape.mapping.table for shape in self.flow.shapes if shape.mapping.base_table == row_group}
            done.held_back += store_quarantine(self.flow.destination, tables, changed.keys() - set(undone), quarantine)
        return done

    def _failing(self, sent: ApiResult) -> set[int]:
        """Returns tasks that failed repeatedly while others of the same batch succeeded: the API fails because of
        them."""
        for key in (*sent.done, *sent.refused):
            self._failures.pop(key, None)
        if not sent.done:
            return set()
        for key in sent.failed:
            self._failures[key] = self._failures.get(key, 0) + 1
        return {key for key in sent.failed if self._failures[key] >= FAILURES}
