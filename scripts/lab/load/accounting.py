"""Checks whether every acknowledged write of a ledger is still in the databases, after all changes were synced.

A write sets fields of a task. Each field is checked separately, on both sides. It is

**present**      if both sides have its value; **superseded**   if both sides have the value of another write that had
not ended when this one was sent, or if the
                 task was deleted later;
**in conflict**  if a later conflict of the task was won by the other side, and both sides are equal; **lost**
otherwise.

A write counts as its worst field. An acknowledged delete is **resurrected** if the task lives and no later write could
have restored it. An acknowledged create is **doubled** if more than one task of a side has its marker. A write through
the gateway without an answer may have been on either side.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import psycopg
from task_migration.sql_files import as_sql

from lab.load.availability import ANSWERED_BY, FaultPeriod, availability
from lab.load.ledger import LedgerRequest, read
from lab.sql_files import blocks, statement

COUNTED = ("acknowledged", "present", "superseded", "in conflict", "lost", "doubled", "resurrected", "unknown")
_WORST_FIRST = ("lost", "resurrected", "in conflict", "superseded", "present")
_FILE = "load/accounting.sql"
_APP_FILES = {"laravel": "apps/laravel_app.sql", "task_service": "apps/task_service_app.sql"}
_DELETED: dict[str, Any] = {"deleted": True}
# Statuses that Laravel does not have; there they are `pending`.
_ONLY_TASK_SERVICE = {"in_progress": "pending", "rejected": "pending"}
_MOST_EXAMPLES = 20
_LABELS = {
    **{name: f"  {name}" for name in (*ANSWERED_BY.values(), "failed during the fault", *COUNTED[1:])},
    "acknowledged": "acknowledged writes",
    "unknown": "writes of unknown outcome",
    "longest write pause ms": "longest write pause, ms",
}


@dataclass(frozen=True)
class RecordedConflict:
    """One row of task_migration.conflict; ``at`` is in seconds since 1970."""

    winner: str
    at: float


@dataclass
class _Task:
    """Everything that is known of one task."""

    writes: list[LedgerRequest] = field(default_factory=list)
    laravel: Mapping[str, Any] = field(default_factory=lambda: _DELETED)
    task_service: Mapping[str, Any] = field(default_factory=lambda: _DELETED)
    conflicts: list[RecordedConflict] = field(default_factory=list)

    def verdict(self, write: LedgerRequest) -> tuple[str, list[str]]:
        """Returns the worst verdict of the write's fields, and the fields that have it."""
        found = {name: self._field_verdict(write, name, value) for name, value in write.fields.items()}
        worst = next((one for one in _WORST_FIRST if one in found.values()), "present")
        return worst, [name for name, one in found.items() if one == worst]

    def _field_verdict(self, write: LedgerRequest, name: str, value: Any) -> str:
        here, there = self.laravel.get(name), self.task_service.get(name)
        gone = self.laravel == self.task_service == _DELETED
        agreed = gone or here == (
            _ONLY_TASK_SERVICE.get(there, there) if name == "status" and isinstance(there, str) else there
        )
        if agreed and not (gone and name != "deleted") and here == value:
            return "present"
        later = [other for other in self.writes if other is not write and other.ends >= write.sent]
        if agreed and any(name in other.fields and other.fields[name] == here for other in later):
            return "superseded"
        deletes = [other for other in later if other.verb == "delete"]
        # Laravel keeps a deleted row, so that it can be restored. The Task Service deletes it.
        if name != "deleted" and (deletes if gone else any(other.side != "laravel" for other in deletes)):
            return "superseded"
        if write.verb == "delete" and agreed and any(other.verb != "delete" for other in later):
            return "superseded"
        if agreed and any(one.winner != write.side and one.at >= write.sent for one in self.conflicts):
            return "in conflict"
        return "resurrected" if write.verb == "delete" and not gone else "lost"


def account(
    *, laravel_dsn: str, task_service_dsn: str, ledger: Path, fault: FaultPeriod | None = None
) -> dict[str, Any]:
    """Counts the acknowledged writes of each kind (``COUNTED``), after all changes were synced both ways.

    Returns these counts after those of ``availability``, which also explains ``fault``. ``whole`` is true if no write
    is lost, doubled or resurrected. ``examples`` lists some that are, by task, verb, side and fields, without values.
    """
    tasks: dict[int, _Task] = defaultdict(_Task)
    counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    created: dict[str, LedgerRequest] = {}
    for write in filter(attrgetter("writes"), read(ledger)):
        counts[write.outcome] += 1
        if write.task is not None and write.outcome in ("acknowledged", "unknown"):
            tasks[write.task].writes.append(write)
        if write.verb == "create" and write.outcome == "acknowledged":
            created[write.marker] = write
    doubled: set[str] = set()
    with psycopg.connect(laravel_dsn) as laravel, psycopg.connect(task_service_dsn) as task_service:
        for key, found in _tasks_of(laravel, "laravel", list(tasks)):
            tasks[key].laravel = found
        for key, found in _tasks_of(task_service, "task_service", list(tasks)):
            tasks[key].task_service = found
        for session in (laravel, task_service):
            for key, conflict in _conflicts(session, list(tasks)):
                tasks[key].conflicts.append(conflict)
            rows = session.execute(statement(_FILE, "doubled markers"), {"markers": list(created)}).fetchall()
            doubled |= {marker for marker, _ in rows}
    examples = [f"task {created[marker].task}: created twice" for marker in sorted(doubled)]
    for key, task in tasks.items():
        for write in task.writes:
            if write.outcome == "acknowledged":
                verdict, fields = task.verdict(write)
                counts[verdict] += 1
                if verdict in ("lost", "resurrected"):
                    examples.append(f"task {key}: {write.verb} on {write.side} of {', '.join(fields)} {verdict}")
    counts["doubled"] = len(doubled)
    whole = not (counts["lost"] or counts["doubled"] or counts["resurrected"])
    return {
        **availability(read(ledger), fault),
        **{name: counts[name] for name in COUNTED},
        "whole": whole,
        "examples": examples[:_MOST_EXAMPLES],
    }


def table(found: Mapping[str, Any]) -> str:
    """Returns the counts as a table, with the examples below it."""
    rows = [f"{_LABELS.get(name, name):<32}{found[name]:>10,}" for name in found if name not in ("whole", "examples")]
    return "\n".join([*rows, *(f"  {example}" for example in found["examples"])])


def _tasks_of(session: psycopg.Connection[Any], side: str, keys: list[int]) -> Iterable[tuple[int, Mapping[str, Any]]]:
    """Returns the side's existing tasks, with their fields named as in the ledger."""
    document = as_sql(blocks(_APP_FILES[side])["document"])
    for key, task, deleted in session.execute(
        statement(_FILE, f"{side} tasks", document=document), {"keys": keys}
    ).fetchall():
        images = {f"image {image['id']}": image["s3_key"] for image in task["images"]}
        yield key, _DELETED if deleted else {**task, **images, "tags": sorted(task["tags"]), "deleted": False}


def _conflicts(session: psycopg.Connection[Any], keys: list[int]) -> Iterable[tuple[int, RecordedConflict]]:
    """Returns the conflicts recorded on one side; none if the table does not exist yet."""
    there = session.execute(statement(_FILE, "has conflicts")).fetchone()
    if there is None or not there[0]:
        return
    for key, winner, at in session.execute(statement(_FILE, "conflicts"), {"keys": keys}).fetchall():
        yield key, RecordedConflict(winner, at)
