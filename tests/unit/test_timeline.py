"""The way so far, as the journal tells it: runs of phases, and the shares of the traffic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from task_migration.control.journal import JournalEntry
from task_migration.report import timeline

SINCE = datetime(2026, 1, 12, 9, 0, tzinfo=UTC)


def journal(*lines):
    """Entries one minute apart: (phase, item, result[, evidence])."""
    numbers = count(1)
    entries = []
    for phase, item, result, *evidence in lines:
        number = next(numbers)
        at = SINCE + timedelta(minutes=number)
        entries.append(JournalEntry(number, at, "op", "host", "cmd", phase, item, result, dict(*evidence)))
    return entries


def told(found):
    return [(run.phase, run.result, run.ended and round((run.ended - run.began).total_seconds() / 60)) for run in found]


def steps(found):
    return [(one.weight, one.why, bool(one.figures)) for one in found]


def test_nothing_written_is_nothing_run():
    assert timeline.phase_runs([]) == []
    assert timeline.weights([]) == []


def test_a_run_lasts_from_its_start_to_its_end():
    entries = journal(
        ("2.1", "phase", "started"), ("2.1", "phase", "failed", {"cause": "no room"}),
        ("2.1", "phase", "started"), ("2.2", "phase", "started"), ("2.1", "phase", "done"), ("2.2", "phase", "done"),
    )  # fmt: skip
    found = timeline.phase_runs(entries)
    assert told(found) == [("2.1", "failed", 1), ("2.1", "done", 2), ("2.2", "done", 2)]
    assert [run.cause for run in found] == ["no room", "", ""]


def test_a_run_that_was_killed_ends_with_its_last_entry_and_one_at_work_has_no_end():
    entries = journal(
        ("2.4", "phase", "started", {"weight": 5}), ("2.4", "shift", "done", {"from": 0, "to": 5}),
        ("2.4", "phase", "started", {"weight": 5}), ("2.4", "stage", "done"),
    )  # fmt: skip
    assert told(timeline.phase_runs(entries)) == [("2.4", "interrupted", 1), ("2.4", "interrupted", 1)]
    assert told(timeline.phase_runs(entries, "2.4")) == [("2.4", "interrupted", 1), ("2.4", "running", None)]
    assert {run.weight for run in timeline.phase_runs(entries)} == {5}


def test_weights_go_by_shifts_and_carry_what_was_measured_at_them():
    entries = journal(
        ("2.4", "shift", "done", {"from": 0, "to": 5}), ("2.4", "weight_5", "done", {"requests": 3000}),
        ("2.4", "shift", "done", {"from": 5, "to": 25}),
        ("2.4", "shift", "done", {"from": 25, "to": 5, "by_itself": True}),
    )  # fmt: skip
    found = timeline.weights(entries)
    assert steps(found) == [(5, "shift", True), (25, "shift", False), (5, "by_itself", False)]
    assert [one.until for one in found] == [found[1].since, found[2].since, None]


def test_a_rollback_takes_the_traffic_and_what_was_proven_back():
    entries = journal(
        ("2.4", "shift", "done", {"from": 0, "to": 5}), ("2.4", "weight_5", "done", {"requests": 3000}),
        ("rollback-2.4", "phase", "started"), ("rollback-2.4", "phase", "done"), ("rollback-2.4", "phase", "started"),
        ("2.4", "shift", "done", {"from": 0, "to": 5}),
    )  # fmt: skip
    found = timeline.weights(entries)
    assert steps(found) == [(5, "shift", True), (0, "rollback", False), (5, "shift", False)]
    assert [one.in_effect for one in found] == [False, False, True]


def test_a_shift_that_nobody_could_write_down_is_found_by_its_proof():
    entries = journal(("2.4", "phase", "started"), ("2.4", "weight_5", "done", {"requests": 3000}))
    assert steps(timeline.weights(entries)) == [(5, "found", True)]


def test_what_a_phase_did_is_taken_back_when_the_rollback_starts():
    entries = journal(
        ("2.3", "phase", "done"), ("rollback-2.4", "phase", "started"), ("rollback-2.3", "phase", "started")
    )
    assert timeline.rolled_back_at(entries, "2.3", entries[0].at) == entries[2].at
    assert timeline.rolled_back_at(entries, "2.2", entries[0].at) is None
