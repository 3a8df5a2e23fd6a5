"""Laravel -> Task Service through the Task Service's own API: a whole task with all that belongs to it, by one request.

Lanes and the change log work as for the sink ``database``. What the API refuses is held back like a row that the
database refuses; what it did not acknowledge goes back on the log with the time of its write.
"""

from __future__ import annotations

import json
from typing import Any

from task_migration.api_sink import ApiSink
from task_migration.carry import Done, Keys
from task_migration.conflict import Written
from task_migration.converge import REFUSED_BY_API, Flow
from task_migration.forward import Forward, keep_quarantine


class ForwardByApi(Forward):
    """The way from Laravel when the Task Service's database is written by its API alone."""

    def __init__(self, flow: Flow, sink: ApiSink) -> None:
        super().__init__(flow)
        self._sink = sink

    def derive(self, keys: Keys) -> None:
        """A request carries a whole task: a written image touches its task, and a task all of its images."""
        (task,) = {shape.mapping.base_table for shape in self.flow.shapes if shape.mapping.parent is None}
        for unit in [unit for unit in keys if unit != task]:
            for written in list(keys[unit].values()):
                keys.setdefault(task, {}).setdefault(written.root, Written(written.root, written.claim))
        super().derive(keys)

    def lock(self, keys: Keys) -> dict[int, str]:
        """Nothing: the API locks what it writes."""
        return {}

    def write(self, keys: Keys, owners: dict[int, str]) -> Done:
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
        sent = self._sink.carry(wanted)
        held_back += [(task, key, REFUSED_BY_API, True, reason) for key, reason in sent.refused.items()]
        done = Done(updated=len(sent.done), problem=sent.problem)
        undone = {key: keys[task][key].root for key in sent.undone}
        if undone:
            done.waiting[task] = undone
        for unit, rows in keys.items():
            tables = {shape.mapping.table for shape in self.flow.shapes if shape.mapping.base_table == unit}
            done.held_back += keep_quarantine(self.flow.destination, tables, rows.keys() - set(undone), held_back)
        return done
