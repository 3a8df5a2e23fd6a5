"""Whether every acknowledged write of a ledger is still there, once all changes have been carried.

A write sets fields of a task, and each field is looked at on its own, on both sides. It is **present** if both hold the
value; **superseded** if they hold that of another write of the field that was not over when this one was sent, or if
the task was deleted since; **in conflict** if a conflict of the task, resolved after it was sent, was won by the other
side, and both sides hold the same; else it is **lost**. A write is as its worst field. An acknowledged delete of a task
that lives, with nothing after it that could have brought it back, is **resurrected**; an acknowledged create whose
marker more than one task of a side bears is **doubled**. A write that came through the gateway, with no answer to tell
which side it went to, may have been on either.
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
_DELETED: dict[str, Any] = {"deleted": True}
# Kinds of `pending` that Laravel has no word for.
_FINER = {"in_progress": "pending", "rejected": "pending"}
_SHOWN = 20
_LABELS = {
    **{name: f"  {name}" for name in (*ANSWERED_BY.values(), "failed during the fault", *COUNTED[1:])},
    "acknowledged": "acknowledged writes",
    "unknown": "writes of unknown outcome",
    "longest write pause ms": "longest write pause, ms",
}


@dataclass(frozen=True)
class RecordedConflict:
    """One row of task_migration.conflict; ``at`` in seconds since 1970."""

    winner: str
    at: float


@dataclass
class _Task:
    """All that is known of one task."""

    writes: list[LedgerRequest] = field(default_factory=list)
    laravel: Mapping[str, Any] = field(default_factory=lambda: _DELETED)
    task_service: Mapping[str, Any] = field(default_factory=lambda: _DELETED)
    conflicts: list[RecordedConflict] = field(default_factory=list)

    def verdict(self, write: LedgerRequest) -> tuple[str, list[str]]:
        """The worst of its fields' verdicts, and the fields that have it."""
        found = {name: self._of_field(write, name, value) for name, value in write.fields.items()}
        worst = next((one for one in _WORST_FIRST if one in found.values()), "present")
        return worst, [name for name, one in found.items() if one == worst]

    def _of_field(self, write: LedgerRequest, name: str, value: Any) -> str:
        here, there = self.laravel.get(name), self.task_service.get(name)
        gone = self.laravel == self.task_service == _DELETED
        agreed = gone or here == (_FINER.get(there, there) if name == "status" and isinstance(there, str) else there)
        if agreed and not (gone and name != "deleted") and here == value:
            return "present"
        later = [other for other in self.writes if other is not write and other.ends >= write.sent]
        if agreed and any(name in other.fields and other.fields[name] == here for other in later):
            return "superseded"
        deletes = [other for other in later if other.verb == "delete"]
        # In Laravel a delete keeps the row, to be restored; in the Task Service nothing is left of it.
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
    """How many acknowledged writes there are of each kind (``COUNTED``), after everything was carried both ways.

    Before them, the figures of ``availability``, which see for ``fault``.

    ``whole`` is whether none is lost, doubled or resurrected; ``examples`` names some that are, by task, verb, side and
    fields, never by a value.
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
        for key, found in _found(laravel, "laravel", list(tasks)):
            tasks[key].laravel = found
        for key, found in _found(task_service, "task_service", list(tasks)):
            tasks[key].task_service = found
        for session in (laravel, task_service):
            for key, conflict in _conflicts(session, list(tasks)):
                tasks[key].conflicts.append(conflict)
            bearers = session.execute(statement(_FILE, "bearers"), {"markers": list(created)}).fetchall()
            doubled |= {marker for marker, _ in bearers}
    examples = [f"task {created[marker].task}: made twice" for marker in sorted(doubled)]
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
        "examples": examples[:_SHOWN],
    }


def table(found: Mapping[str, Any]) -> str:
    """The counts under each other, and the examples."""
    rows = [f"{_LABELS.get(name, name):<32}{found[name]:>10,}" for name in found if name not in ("whole", "examples")]
    return "\n".join([*rows, *(f"  {example}" for example in found["examples"])])


def _found(session: psycopg.Connection[Any], side: str, keys: list[int]) -> Iterable[tuple[int, Mapping[str, Any]]]:
    """Each of the side's tasks that lives, with its fields as the ledger names them."""
    document = as_sql(blocks(f"apps/{side}_app.sql")["document"])
    for key, task, deleted in session.execute(
        statement(_FILE, f"{side} tasks", document=document), {"keys": keys}
    ).fetchall():
        images = {f"image {image['id']}": image["s3_key"] for image in task["images"]}
        yield key, _DELETED if deleted else {**task, **images, "tags": sorted(task["tags"]), "deleted": False}


def _conflicts(session: psycopg.Connection[Any], keys: list[int]) -> Iterable[tuple[int, RecordedConflict]]:
    """The conflicts that a side keeps; none if it has no such table yet."""
    there = session.execute(statement(_FILE, "has conflicts")).fetchone()
    if there is None or not there[0]:
        return
    for key, winner, at in session.execute(statement(_FILE, "conflicts"), {"keys": keys}).fetchall():
        yield key, RecordedConflict(winner, at)
