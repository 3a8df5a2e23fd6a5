"""The plan's checklist (checklist.yml): each item is checked by evidence, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

from task_migration import binomial, yaml_files
from task_migration.control.consistency_history import Check
from task_migration.control.journal import JournalEntry, Verdict
from task_migration.control.sync_switch import Position
from task_migration.times import duration, when

_ACCOUNT = ("expected", "copied", "laravel", "task_service", "quarantined", "in_flight", "waiting")

CONFIDENCE = 0.95
"""The usual confidence; results with a lower one say so."""
NO_WAY_BACK = "no_way_back"
"""The journal's item after which no rollback is possible: what a rollback needs is removed from then on."""
_OF_THE_SYNC = {"switch", "consistency"}
"""Evidence that exists only while the sync runs."""
State = Literal["not started", "running", "interrupted", "failed", "under way", "done"]
"""``under way``: a step of the phase succeeded, and further steps remain."""


@dataclass(frozen=True)
class Item:
    """One item: in the plan's words (``ja``), in English, and the kind of ``evidence`` that proves it."""

    id: str
    ja: str
    en: str
    evidence: Mapping[str, Any]
    command: str


@dataclass(frozen=True)
class Phase:
    """One phase of the plan, and the command for it or for its first step. ``complete``: see checklist.yml."""

    phase: str
    ja: str
    en: str
    command: str
    items: tuple[Item, ...]
    complete: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rollback:
    """A rollback, and the phases whose work no longer counts once it has started."""

    phase: str
    command: str
    takes_back: tuple[str, ...]


@dataclass(frozen=True)
class MigrationTest:
    """One copy that started empty and was proven equal. ``copied_at`` identifies the copy."""

    copied_at: str
    verified_at: datetime
    operator: str
    host: str
    rows: int


@dataclass(frozen=True)
class Evidence:
    """All evidence: the journal, oldest first; the last verdict; the migration tests, oldest first; the switches; the
    newest consistency check, and the age in seconds from which on it is too old; whether Laravel is fenced now; and
    the confidence that an error rate needs."""

    journal: Sequence[JournalEntry] = ()
    verdict: Verdict | None = None
    migration_tests: Sequence[MigrationTest] = ()
    switches: Mapping[str, Position] = field(default_factory=dict)
    consistency: Check | None = None
    consistency_seconds: float = 7200
    fenced: bool = False
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Checked:
    """One checked item: ``figures`` are the numbers that prove it, ``missing`` is why it is not done."""

    item: Item
    done: bool
    who: str = ""
    at: datetime | None = None
    figures: str = ""
    missing: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.item.id,
            "en": self.item.en,
            "ja": self.item.ja,
            "done": self.done,
            "who": self.who or None,
            "at": self.at.isoformat() if self.at else None,
            "figures": self.figures or None,
            "missing": self.missing or None,
            "command": self.item.command,
        }

    def lines(self) -> tuple[str, str]:
        """Returns the item with its check box, and a second line with the evidence or with what is missing."""
        by = f"{self.who}, {when(self.at)}" if self.at else ""
        under = "; ".join(filter(None, [by, self.figures])) if self.done else self.missing
        return f"  [{'x' if self.done else ' '}] {self.item.en} ({self.item.ja})", f"      {under}"


@dataclass(frozen=True)
class PhaseState:
    """The state of a phase. ``last`` is its evidence: the last start or end of the phase that changed something."""

    state: State
    last: JournalEntry | None = None
    cause: str = field(default="")

    def __str__(self) -> str:
        if self.last is None:
            return self.state
        words = {"interrupted": "interrupted; started", "running": "running; started"}
        more = self.cause or (figures(self.last.evidence) if self.state in ("done", "under way") else "")
        text = f"{words.get(self.state, self.state)} {when(self.last.at)}, by {self.last.who}"
        return f"{text}: {more}" if more else text


@cache
def phases() -> tuple[Phase, ...]:
    """Returns the plan's phases, in order."""
    return tuple(
        Phase(
            one["phase"],
            one["ja"],
            one["en"],
            one["command"],
            tuple(Item(**{"command": one["command"], **item}) for item in one["items"]),
            one.get("complete", {}),
        )
        for one in _read()["phases"]
    )


@cache
def rollbacks() -> tuple[Rollback, ...]:
    """Returns the rollbacks."""
    return tuple(Rollback(one["phase"], one["command"], tuple(one["takes_back"])) for one in _read()["rollbacks"])


def _read() -> Any:
    return yaml_files.read("control/checklist.yml")


def in_effect(journal: Sequence[JournalEntry]) -> list[JournalEntry]:
    """Returns the entries in effect: without those of phases for which a later rollback has started."""
    rolled_back = {
        phase: entry.id
        for rollback in rollbacks()
        for entry in journal
        if entry.phase == rollback.phase and entry.item == "phase" and entry.result == "started"
        for phase in rollback.takes_back
    }
    return [entry for entry in journal if entry.id > rolled_back.get(entry.phase, 0)]


def past_return(in_effect: Sequence[JournalEntry]) -> JournalEntry | None:
    """Returns the entry after which data can no longer be rolled back; None while it can be."""
    return next((one for one in reversed(in_effect) if one.item == NO_WAY_BACK and one.result == "done"), None)


def state_of(phase: str, journal: Sequence[JournalEntry], running: str = "") -> PhaseState:
    """Returns the state of a phase, from the entries in effect. ``running`` is the playbook that holds the lock now.

    A refusal changed nothing, so the state is the one before it.
    """
    own = [entry for entry in journal if entry.phase == phase and entry.item == "phase"]
    settled: JournalEntry | None = None
    last: JournalEntry | None = None
    for entry in own:
        if entry.result == "refused":
            last = settled
        else:
            last = entry
            settled = entry if entry.result != "started" else settled
    if last is None:
        return PhaseState("not started")
    if last.result == "started":
        return PhaseState("running" if running and phase_of(running) == phase else "interrupted", last)
    if last.result == "failed":
        return PhaseState("failed", last, str(last.evidence.get("cause", "")))
    complete = next((one.complete for one in phases() if one.phase == phase), {})
    whole = all(last.evidence.get(name) == value for name, value in complete.items())
    return PhaseState("done" if whole else "under way", last)


def phase_of(playbook: str) -> str:
    """Returns the phase or the rollback that this playbook runs; "" if it runs none."""
    commands = [(one.command, one.phase) for one in phases()] + [(one.command, one.phase) for one in rollbacks()]
    return {command.split()[1]: phase for command, phase in commands}.get(f"{playbook}.yml", "")


def following(phase: Phase, checked: Sequence[Checked]) -> str:
    """Returns the command of a phase's next step: that of the item after the last one that is done."""
    last = max((number for number, one in enumerate(checked) if one.done), default=-1)
    return phase.items[min(last + 1, len(phase.items) - 1)].command if phase.complete else phase.command


def check(phase: Phase, item: Item, evidence: Evidence) -> Checked:
    """Checks one item against the evidence."""
    if "migration_tests" in item.evidence:
        return _by_tests(item, int(item.evidence["migration_tests"]), evidence)
    if "error_rate" in item.evidence:
        return _by_requests(phase, item, float(item.evidence["error_rate"]), evidence)
    entry, missing = _proof(phase, item, evidence.journal)
    if entry is not None and past_return(evidence.journal) and item.evidence.keys() & _OF_THE_SYNC:
        return Checked(item, True, entry.who, entry.at, "until the end of the migration")
    if entry is not None and "switch" in item.evidence:
        return _by_switch(phase, item, evidence.switches.get(item.evidence["switch"]))
    if entry is not None and "consistency" in item.evidence:
        return _by_check(item, entry, evidence)
    if entry is None:
        return Checked(item, False, missing=missing)
    if "fence" in item.evidence and not evidence.fenced:
        return Checked(item, False, missing=f"Laravel is no longer fenced: {item.command}")
    if "comparison" not in item.evidence:
        own = figures(entry.evidence) if entry.item != "phase" else "with the whole phase"
        return Checked(item, True, entry.who, entry.at, own)
    compared = _comparison(item.evidence["comparison"], entry, evidence.verdict)
    if compared is None:
        return Checked(item, False, missing="the journal and the last verdict have no result of this comparison")
    if not _says_equal(compared):
        return Checked(item, False, missing=f"not equal: {figures(compared)}")
    return Checked(item, True, entry.who, entry.at, figures(compared))


def _proof(phase: Phase, item: Item, journal: Sequence[JournalEntry]) -> tuple[JournalEntry | None, str]:
    """Returns the entry that proves the item, or None and the reason."""
    last = _last(journal, phase.phase, item.evidence.get("journal", "verify"))
    if last is not None and last.result == "done":
        return last, ""
    whole = _last(journal, phase.phase, "phase")
    ended = whole is not None and whole.result == "done" and (last is None or last.id < whole.id)
    if ended and not item.evidence.get("itself"):
        return whole, ""
    if last is None:
        return None, f"not done yet: {item.command}"
    words = {"failed": "failed", "started": "started and not finished"}[last.result]
    return None, f"{words} {when(last.at)}, by {last.who}"


def _last(journal: Sequence[JournalEntry], phase: str, item: str) -> JournalEntry | None:
    own = [e for e in journal if e.phase == phase and e.item == item and e.result != "refused"]
    return own[-1] if own else None


def _comparison(name: str, entry: JournalEntry, verdict: Verdict | None) -> Mapping[str, Any] | None:
    """Returns the result of a comparison: the one in the entry, else the one in the last verdict."""
    for source in (entry.evidence, verdict.summary if verdict else {}):
        found = source.get("comparisons", {}).get(name)
        if isinstance(found, Mapping):
            return found
    return None


def _says_equal(compared: Mapping[str, Any]) -> bool:
    equal = compared.get("equal")
    if isinstance(equal, bool):
        return equal
    return equal is not None and equal == compared.get("rows", compared.get("tasks"))


def _by_tests(item: Item, wanted: int, evidence: Evidence) -> Checked:
    """Counts copies that started empty and were proven equal; or as many rehearsals of the whole migration in labs, as
    phase 2.1 recorded them."""
    tests = evidence.migration_tests
    if len(tests) >= wanted:
        last = tests[-1]
        counted = f"{len(tests)} different copies proven equal, the last of {last.rows:,} rows"
        return Checked(item, True, f"{last.operator}@{last.host}", last.verified_at, counted)
    rehearsed = _last(evidence.journal, "2.1", "rehearsals")
    if rehearsed is not None and int(rehearsed.evidence.get("green", 0)) >= wanted:
        counted = f"{rehearsed.evidence['green']} green rehearsals of the mappings {rehearsed.evidence.get('mappings')}"
        return Checked(item, True, rehearsed.who, rehearsed.at, counted)
    forced = (
        f"; phase 2.1 was run without them: {rehearsed.evidence['reason']}"
        if rehearsed and rehearsed.evidence.get("forced")
        else ""
    )
    return Checked(item, False, missing=f"{len(tests)} of {wanted} so far{forced}: {item.command}")


def _by_switch(phase: Phase, item: Item, position: Position | None) -> Checked:
    if position is None or not position.is_on:
        return Checked(item, False, missing=f"the switch is off: {phase.command}")
    return Checked(item, True, position.changed_by, position.changed_at, "the switch is on")


def _by_check(item: Item, entry: JournalEntry, evidence: Evidence) -> Checked:
    check = evidence.consistency
    if check is None or check.at < entry.at - timedelta(seconds=evidence.consistency_seconds):
        return Checked(item, False, missing=f"no check since then: {item.command}")
    if check.age_seconds > evidence.consistency_seconds:
        return Checked(item, False, missing=f"the last check is {duration(timedelta(seconds=check.age_seconds))} old")
    if item.evidence["consistency"] == "passed" and not check.passed:
        return Checked(item, False, missing=f"the last check {check.word}: {check.reasons}")
    return Checked(item, True, entry.who, check.at, f"{check.word}, in {check.seconds:.1f} s")


def _by_requests(phase: Phase, item: Item, percent: float, evidence: Evidence) -> Checked:
    """Checks an error rate. To prove with 95 % confidence that fewer than 0.1 % of all requests fail takes 2,995
    requests without a failure, and more if some failed."""
    counted = [one for one in evidence.journal if one.phase == phase.phase and one.item == "error_rate"]
    requests = sum(int(entry.evidence.get("requests", 0)) for entry in counted)
    errors = sum(int(entry.evidence.get("errors", 0)) for entry in counted)
    needed = binomial.needed(errors, percent / 100, evidence.confidence)
    caveat = f", at {100 * evidence.confidence:g} % confidence" if evidence.confidence < CONFIDENCE else ""
    result = f"{errors:,} of {requests:,} requests failed{caveat}"
    if requests < needed:
        return Checked(item, False, missing=f"{result}; {needed:,} requests are needed for a proof: {item.command}")
    return Checked(item, True, counted[-1].who, counted[-1].at, result)


def figures(evidence: Mapping[str, Any]) -> str:
    """Returns evidence in a few words: plain values as they are, counts per table added up."""
    words: list[str] = []
    tables = evidence.get("tables", evidence)
    if isinstance(tables, Mapping):
        sums: dict[str, int] = {}
        for counts in tables.values():
            if isinstance(counts, Mapping):
                for name, value in counts.items():
                    if isinstance(value, int) and not isinstance(value, bool):
                        sums[name] = sums.get(name, 0) + value
        known = [name for name in _ACCOUNT if name in sums]  # jsonb keeps no order
        words += [f"{_words(name)} {sums[name]:,}" for name in [*known, *(name for name in sums if name not in known)]]
    for name in sorted(evidence, key=lambda name: (*_ACCOUNT, name).index(name)):
        value = evidence[name]
        if isinstance(value, bool):
            words.append(f"{_words(name)} {'yes' if value else 'no'}")
        elif isinstance(value, int | float):
            words.append(f"{_words(name)} {value:,}")
        elif isinstance(value, str) and value and len(value) <= 80:
            words.append(f"{_words(name)} {value}")
    return ", ".join(words[:6])


def _words(name: str) -> str:
    return name.replace("_", " ")
