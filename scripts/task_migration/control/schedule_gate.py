"""The plan's schedule: the gate that asks for a confirmation outside a phase's planned dates, and the comparison with
the actual dates.

Days are those of Laravel's users, by ``laravel_timezone``: the last planned day ends when their day ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from task_migration import yaml_files
from task_migration.control import checklist
from task_migration.control.journal import JournalEntry
from task_migration.errors import Refused
from task_migration.outcome import Outcome

_ANSWER = "-e outside_schedule=yes"


@dataclass(frozen=True)
class ScheduleWindow:
    """The planned dates, from the first day to the last, both included."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"

    def off(self, day: date) -> int:
        """Returns how many days too late the day is; negative: too early; 0: within the planned dates."""
        return min((day - self.first).days, 0) or max((day - self.last).days, 0)


@dataclass(frozen=True)
class Planned:
    """A phase of the plan: its planned dates, those of each weight, the responsible team and the deliverable."""

    phase: str
    window: ScheduleWindow
    who: str
    deliverable: Mapping[str, str]
    weights: Mapping[int, ScheduleWindow] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """A phase compared with its planned dates. ``began`` and ``ended`` are the days of its first start and end, None
    for not yet; ``off`` as in ScheduleWindow.off, of its end (or of today, without an end) if that is late, else of
    its start."""

    planned: Planned
    began: date | None
    ended: date | None
    off: int

    def __str__(self) -> str:
        return f"planned {self.planned.window}" + (f", {days_text(self.off)}" if self.off else "")

    def as_dict(self) -> dict[str, Any]:
        return {
            "phase": self.planned.phase,
            "first": self.planned.window.first.isoformat(),
            "last": self.planned.window.last.isoformat(),
            "who": self.planned.who,
            **{f"deliverable_{language}": text for language, text in self.planned.deliverable.items()},
            "began": self.began.isoformat() if self.began else None,
            "ended": self.ended.isoformat() if self.ended else None,
            "off_days": self.off,
        }


def schedule_gate(
    *,
    schedule_begins: str = "",
    laravel_timezone: str,
    phase: str,
    weight: int = 0,
    answer: str = "",
    check: bool = False,
) -> Outcome:
    """Checks whether today is a planned day. On any other day it asks, and refuses every answer but ``yes``.

    ``schedule_begins`` is the first day of phase 2.1 ("" for no schedule); ``answer`` is the operator's answer, or
    ``ask`` to find out whether a question is needed. Check mode only warns. Details: ``off_days``, ``asks``,
    ``question``, and ``evidence`` for the journal if the run continues: {} on a planned day and in check mode.
    """
    nothing = {"off_days": 0, "asks": False, "question": "", "evidence": {}}
    if not schedule_begins:
        return Outcome(False, "schedule: none (schedule_begins is empty)", nothing)
    own = next(one for one in planned(schedule_begins) if one.phase == phase)
    window = own.weights.get(weight, own.window)
    what = f"phase {phase}" + (f" at {weight} %" if weight in own.weights else "")
    today = datetime.now(zone(laravel_timezone)).date()
    off = window.off(today)
    if not off:
        return Outcome(False, f"schedule: {what} is planned for {window}, today is {today}", nothing)
    comparison = f"{what} is planned for {window}, today is {today}, {days_text(off)}"
    answered = "yes when asked" if answer == "ask" else "yes beforehand"
    details = {
        "off_days": off,
        "asks": answer == "ask" and not check,
        "question": f"{comparison}. Type yes to continue; until you answer, watch.yml cannot roll back",
        "evidence": {}
        if check
        else {"outside_schedule": f"planned {window}, on {today}, {days_text(off)}, {answered}"},
    }
    if answer not in ("ask", "yes") and not check:
        raise Refused(
            "this is outside the planned dates, and was not confirmed",
            measured=comparison,
            allowed="a planned day, or the answer yes",
            next_step=f"the same command with {_ANSWER}; or move the plan: schedule_begins in the inventory",
        )
    return Outcome(False, f"schedule: WARNING: {comparison}", details)


def days_text(off: int) -> str:
    """Returns a number of days as text: "3 days late"."""
    return f"{abs(off)} day{'' if abs(off) == 1 else 's'} {'late' if off > 0 else 'early'}"


def planned(schedule_begins: str) -> list[Planned]:
    """Returns the plan's phases in order, if the plan begins on this day. Raises Refused if it is not a date."""
    try:
        first = date.fromisoformat(schedule_begins)
    except ValueError:
        raise Refused(
            "schedule_begins is not a date",
            measured=f"schedule_begins is {schedule_begins!r}",
            allowed="a date such as '2025-12-15', or empty for no schedule",
            next_step="correct schedule_begins in the inventory",
        ) from None

    def window(days: Sequence[int]) -> ScheduleWindow:
        return ScheduleWindow(*(first + timedelta(days=day) for day in days))

    return [
        Planned(
            one["phase"],
            window(one["days"]),
            one["who"],
            one["deliverable"],
            {weight: window(days) for weight, days in one.get("weights", {}).items()},
        )
        for one in _read()
    ]


def kept(
    schedule_begins: str, entries: Sequence[JournalEntry], laravel_timezone: str, now: datetime
) -> dict[str, Kept]:
    """Compares each phase with its planned dates, from the journal entries in effect; {} without a schedule."""
    if not schedule_begins:
        return {}
    where = zone(laravel_timezone)
    return {one.phase: _kept(one, entries, where, now.astimezone(where).date()) for one in planned(schedule_begins)}


def _kept(one: Planned, entries: Sequence[JournalEntry], where: ZoneInfo, today: date) -> Kept:
    own = [entry for entry in entries if entry.phase == one.phase and entry.item == "phase"]
    began = next((entry.at.astimezone(where).date() for entry in own if entry.result == "started"), None)
    ended = _ended(one.phase, own)
    ended_on = ended.at.astimezone(where).date() if ended else None
    late = max(one.window.off(ended_on or today), 0)
    early = min(one.window.off(began), 0) if began else 0
    return Kept(one, began, ended_on, late or early)


def _ended(phase: str, own: Sequence[JournalEntry]) -> JournalEntry | None:
    """Returns the entry with which the phase was first done; None if it is not done now. A later second run does not
    make it late."""
    if checklist.state_of(phase, own).state != "done":
        return None
    return next(one for number, one in enumerate(own, 1) if checklist.state_of(phase, own[:number]).state == "done")


def zone(laravel_timezone: str) -> ZoneInfo:
    """Returns the time zone. Raises Refused if it is unknown."""
    try:
        return ZoneInfo(laravel_timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise Refused(
            "laravel_timezone is not a known time zone",
            measured=f"laravel_timezone is {laravel_timezone!r}",
            allowed="a name of the IANA database, such as Asia/Tokyo",
            next_step="correct laravel_timezone in the inventory",
        ) from None


@cache
def _read() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml_files.read("control/schedule_gate.yml")["phases"]
    return found
