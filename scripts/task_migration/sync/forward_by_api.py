"""Laravel -> Task Service through the Task Service's own API: a whole task with all that belongs to it, by one request.

Lanes and the change log work as for the sink ``database``. What the API refuses is held back like a row that the
database refuses; what it did not acknowledge goes back on the log with the time of its write.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from task_migration.sync.api_client import ApiClient, ApiResult
from task_migration.sync.batch import Asks, Done
from task_migration.sync.changed_rows import ChangedRow, Keys
from task_migration.sync.converge import REFUSED_BY_API, Flow
from task_migration.sync.forward import Forward, keep_quarantine

FAILURES = 3
"""So often a task may fail, each time with all of its tries, while others go through."""


class ForwardByApi(Forward):
    """The way from Laravel when the Task Service's database is written by its API alone."""

    def __init__(self, flow: Flow, sink: ApiClient) -> None:
        super().__init__(flow)
        self._sink = sink
        self._failures: dict[int, int] = {}

    def derive(self, keys: Keys) -> Keys:
        """A request carries a whole task: a written image touches its task, and a task all of its images."""
        (task,) = {shape.mapping.base_table for shape in self.flow.shapes if shape.mapping.parent is None}
        for unit in [unit for unit in keys if unit != task]:
            for written in list(keys[unit].values()):
                keys.setdefault(task, {}).setdefault(written.root, ChangedRow(written.root, written.claim))
        return super().derive(keys)

    def lock(self, keys: Keys) -> Callable[[], dict[int, str]]:
        """Nothing: the API locks what it writes."""
        return dict

    def write(self, keys: Keys, owners: dict[int, str], once_more: Asks) -> Done:
        """Sends every task of the batch."""
        read, held_back = self._ask(keys)
        (task,) = {shape.mapping.base_table for shape in self.flow.shapes if shape.mapping.parent is None}
        wanted: dict[int, dict[str, Any] | None] = dict.fromkeys(keys.get(task, {}))
        for row in json.loads(read["tasks"].rows):
            wanted[row["id"]] = {**row, "group": None, "approval": None, "images": []}
        for table, name in (("group_tasks", "group"), ("task_approvals", "approval"), ("task_images", "images")):
            for row in json.loads(read[table].rows):
                whole = wanted.get(row.pop("task_id"))
                if whole is None:
                    continue
                if name == "images":
                    whole[name].append(row)
                else:
                    whole[name] = row
        # What failed before goes last: it may be poison to the API, and would stop the line for the others.
        sent = self._sink.carry(dict(sorted(wanted.items(), key=lambda one: self._failures.get(one[0], 0))))
        poison = self._poison(sent)
        refused = {**sent.refused, **dict.fromkeys(poison, sent.problem)}
        held_back += [(task, key, REFUSED_BY_API, True, reason) for key, reason in refused.items()]
        undone = {key: keys[task][key].root for key in sent.undone if key not in poison}
        done = Done(updated=len(sent.done), problem=sent.problem if undone else "")
        if undone:
            done.waiting[task] = undone
        for unit, rows in keys.items():
            tables = {shape.mapping.table for shape in self.flow.shapes if shape.mapping.base_table == unit}
            done.held_back += keep_quarantine(self.flow.destination, tables, rows.keys() - set(undone), held_back)
        return done

    def _poison(self, sent: ApiResult) -> set[int]:
        """Tasks that failed again and again while others of the same batch went through: the API fails over them."""
        for key in (*sent.done, *sent.refused):
            self._failures.pop(key, None)
        if not sent.done:
            return set()
        for key in sent.failed:
            self._failures[key] = self._failures.get(key, 0) + 1
        return {key for key in sent.failed if self._failures[key] >= FAILURES}
