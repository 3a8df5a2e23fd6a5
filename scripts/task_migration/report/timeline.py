"""Derives the history from the journal: each run of a phase, and each weight with its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from task_migration.control.checklist import rollbacks
from task_migration.control.journal import JournalEntry

RunResult = Literal["done", "failed", "refused", "interrupted", "running"]
Why = Literal["shift", "by_itself", "rollback", "found"]


@dataclass(frozen=True)
class PhaseRun:
    """One run of a phase or of a rollback.

    ``ended`` is None while it runs; for an interrupted run it is the time of its last entry. ``weight`` is the one that
    was typed, None without one. ``cause`` says why it failed.
    """

    phase: str
    began: datetime
    ended: datetime | None
    result: RunResult
    who: str
    command: str
    weight: int | None = None
    cause: str = ""

    def as_dict(self) -> dict[str, Any]:
        return _plain(asdict(self))


@dataclass(frozen=True)
class TrafficPeriod:
    """A period in which one percentage of the traffic went to the Task Service. ``until`` is None for the last one.

    ``why`` it started: a shift, an automatic return from a weight that failed (``by_itself``), a rollback, or ``found``
    (the traffic had moved before it could be recorded). ``figures`` are the metrics of the bake, None if the weight was
    never proven. ``in_effect`` is whether it still counts, because it was not rolled back.
    """

    weight: int
    since: datetime
    until: datetime | None
    why: Why
    figures: dict[str, Any] | None = None
    in_effect: bool = True

    def as_dict(self) -> dict[str, Any]:
        return _plain(asdict(self))


def phase_runs(entries: Sequence[JournalEntry], running: str = "") -> list[PhaseRun]:
    """Returns every run of a phase, in the order of their start. ``running`` is the phase that is running now, or
    ""."""
    found: list[PhaseRun] = []
    for phase in dict.fromkeys(entry.phase for entry in entries):
        own = [entry for entry in entries if entry.phase == phase]
        began: JournalEntry | None = None
        seen: JournalEntry | None = None
        for entry in own:
            if entry.item == "phase" and entry.result == "started":
                if began and seen:
                    found.append(_run(began, seen, "interrupted"))
                began = entry
            elif entry.item == "phase":
                found.append(_run(began or entry, entry, _RESULTS[entry.result]))
                began = None
            seen = entry
        if began and seen:
            is_running = running == phase
            found.append(_run(began, None if is_running else seen, "running" if is_running else "interrupted"))
    return sorted(found, key=lambda run: run.began)


def weights(entries: Sequence[JournalEntry]) -> list[TrafficPeriod]:
    """Returns how the traffic was divided, from the first shift on."""
    found: list[TrafficPeriod] = []
    for entry in entries:
        if entry.phase == "2.4" and entry.item == "shift" and entry.result == "done":
            why: Why = "by_itself" if entry.evidence.get("by_itself") else "shift"
            _change(found, int(entry.evidence["to"]), entry.at, why)
        elif entry.phase == "rollback-2.4" and entry.item == "phase" and entry.result == "started":
            if found and found[-1].weight:
                _change(found, 0, entry.at, "rollback")
            found = [replace(one, in_effect=False) for one in found]
        elif entry.phase == "2.4" and entry.item.startswith("weight_") and entry.result == "done":
            weight = int(entry.item.removeprefix("weight_"))
            if not found or found[-1].weight != weight:
                _change(found, weight, entry.at, "found")
            if entry.evidence:
                found[-1] = replace(found[-1], figures=dict(entry.evidence))
    return found


def rolled_back_at(entries: Sequence[JournalEntry], phase: str, after: datetime) -> datetime | None:
    """Returns the start of the first rollback of this phase at or after that time; None if there was none."""
    own = {rollback.phase for rollback in rollbacks() if phase in rollback.takes_back}
    starts = (e.at for e in entries if e.phase in own and e.item == "phase" and e.result == "started" and e.at >= after)
    return next(starts, None)


_RESULTS: dict[str, RunResult] = {"done": "done", "failed": "failed", "refused": "refused"}


def _run(began: JournalEntry, ended: JournalEntry | None, result: RunResult) -> PhaseRun:
    weight = (ended or began).evidence.get("weight", began.evidence.get("weight"))
    cause = str(ended.evidence.get("cause", "")) if ended and result == "failed" else ""
    return PhaseRun(
        began.phase,
        began.at,
        ended.at if ended else None,
        result,
        began.who,
        began.command,
        weight if isinstance(weight, int) else None,
        cause,
    )


def _change(found: list[TrafficPeriod], weight: int, at: datetime, why: Why) -> None:
    if found:
        found[-1] = replace(found[-1], until=at)
    found.append(TrafficPeriod(weight, at, None, why))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: one.astimezone(UTC).isoformat() if isinstance(one, datetime) else one for name, one in values.items()}
