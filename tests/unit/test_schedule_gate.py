"""The plan's windows, and who is asked outside of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from task_migration.control import checklist, schedule_gate
from task_migration.control.journal import JournalEntry
from task_migration.control.schedule_gate import ScheduleWindow
from task_migration.errors import Refused
from task_migration.parameters import parameters

PLAYBOOKS = sorted((Path(__file__).resolve().parents[2] / "playbooks").glob("*.yml"))
TOKYO = ZoneInfo("Asia/Tokyo")
THE_PLANS = {
    "2.1": "2025-12-15..2025-12-21",
    "2.2": "2025-12-22..2025-12-28",
    "2.3": "2025-12-29..2026-01-11",
    "2.4": "2026-01-12..2026-01-18",
    "2.5": "2026-01-19..2026-01-25",
}
WEIGHTS = {5: "2026-01-12..2026-01-13", 25: "2026-01-14", 50: "2026-01-15", 100: "2026-01-16..2026-01-18"}


def asked(days_ago, answer="", phase="2.1", weight=0, check=False):
    """The gate, with a plan that began so many days ago."""
    begins = datetime.now(TOKYO).date() - timedelta(days=days_ago)
    return schedule_gate.schedule_gate(
        schedule_begins=str(begins),
        laravel_timezone="Asia/Tokyo",
        phase=phase,
        weight=weight,
        answer=answer,
        check=check,
    )


def entry(number, result, at, phase="2.1", **evidence):
    return JournalEntry(number, at, "ops", "runner", f"phase-{phase}", phase, "phase", result, evidence)


def test_the_windows_are_the_plans():
    found = schedule_gate.planned("2025-12-15")
    assert {one.phase: str(one.window) for one in found} == THE_PLANS
    assert {weight: str(window) for weight, window in found[3].weights.items()} == WEIGHTS
    assert [one.phase for one in found] == [one.phase for one in checklist.phases()]
    assert all(set(one.deliverable) == {"ja", "en"} for one in found)


def test_both_ends_belong_to_a_window():
    window = ScheduleWindow(date(2026, 1, 12), date(2026, 1, 13))
    assert [window.off(date(2026, 1, day)) for day in (10, 11, 12, 13, 14, 16)] == [-2, -1, 0, 0, 1, 3]


def test_within_the_window_and_without_a_schedule_nobody_is_asked():
    assert asked(3).details["evidence"] == {}
    assert asked(31, phase="2.4", weight=50).details["off_days"] == 0
    assert not schedule_gate.schedule_gate(laravel_timezone="Asia/Tokyo", phase="2.1").details["asks"]


def test_outside_it_asks_and_takes_no_answer_but_yes():
    found = asked(8, answer="ask")
    assert found.details["asks"]
    assert "2 days late. Type yes" in found.details["question"]
    assert "watch.yml cannot roll back" in found.details["question"]  # the lock is held meanwhile
    for answer in ("", "no", "y", "ja"):
        with pytest.raises(Refused, match=r"2 days late.*-e outside_schedule=yes"):
            asked(8, answer=answer)
    done = asked(8, answer="yes")
    assert "WARNING: phase 2.1 is planned for" in done.message
    assert not done.changed
    for answer, how in (("ask", "yes when asked"), ("yes", "yes beforehand")):
        evidence = asked(8, answer=answer).details["evidence"]
        assert evidence["outside_schedule"].endswith(f", 2 days late, {how}")
        assert "planned" in checklist.figures(evidence)  # short enough for the page


def test_a_weight_has_days_of_its_own():
    with pytest.raises(Refused, match=r"phase 2\.4 at 25 % is planned for.*1 day late"):
        asked(31, phase="2.4", weight=25)
    with pytest.raises(Refused, match="1 day early"):
        asked(30, phase="2.4", weight=50)


def test_check_mode_warns_and_asks_nobody():
    found = asked(8, answer="ask", check=True)
    assert "WARNING" in found.message
    assert (found.details["asks"], found.details["evidence"]) == (False, {})


@pytest.mark.parametrize(("begins", "zone"), [("15.12.2025", "Asia/Tokyo"), ("2025-12-15", "Asia/Tokio")])
def test_what_is_no_day_or_no_zone_is_refused(begins, zone):
    with pytest.raises(Refused, match="in the inventory"):
        schedule_gate.schedule_gate(schedule_begins=begins, laravel_timezone=zone, phase="2.1")


def test_a_phase_is_held_against_its_window_by_the_days_of_the_users():
    began = datetime(2025, 12, 15, 0, 30, tzinfo=TOKYO)
    ended = datetime(2025, 12, 21, 23, 30, tzinfo=TOKYO)
    entries = [entry(1, "started", began.astimezone(UTC)), entry(2, "done", ended.astimezone(UTC))]
    found = schedule_gate.kept("2025-12-15", entries, "Asia/Tokyo", datetime(2025, 12, 24, tzinfo=UTC))
    assert found["2.1"].as_dict() | {"who": ""} == {
        "phase": "2.1",
        "first": "2025-12-15",
        "last": "2025-12-21",
        "began": "2025-12-15",
        "ended": "2025-12-21",
        "who": "",
        "deliverable_ja": "RDS構築、マイグレーションスクリプト",
        "off_days": 0,
        "deliverable_en": "the RDS, the migration script",
    }
    assert (found["2.2"].began, found["2.2"].off) == (None, 0)
    assert str(found["2.2"]) == "planned 2025-12-22..2025-12-28"


def test_what_is_not_done_by_its_last_day_is_late_and_what_began_before_its_first_is_early():
    entries = [entry(1, "started", datetime(2025, 12, 10, tzinfo=UTC))]
    found = schedule_gate.kept("2025-12-15", entries, "Asia/Tokyo", datetime(2025, 12, 31, tzinfo=UTC))
    assert (found["2.1"].off, found["2.2"].off, found["2.3"].off) == (10, 3, 0)
    done = [*entries, entry(2, "done", datetime(2025, 12, 16, tzinfo=UTC))]
    found = schedule_gate.kept("2025-12-15", done, "Asia/Tokyo", datetime(2025, 12, 31, tzinfo=UTC))
    assert str(found["2.1"]) == "planned 2025-12-15..2025-12-21, 5 days early"
    assert schedule_gate.kept("", done, "Asia/Tokyo", datetime.now(UTC)) == {}


def test_to_run_a_phase_again_later_makes_it_no_later():
    days = {1: 15, 2: 16, 3: 30, 4: 30}
    results = ("started", "done", "started", "done")
    entries = [
        entry(number, result, datetime(2025, 12, days[number], tzinfo=UTC)) for number, result in enumerate(results, 1)
    ]
    now = datetime(2025, 12, 31, tzinfo=UTC)
    found = schedule_gate.kept("2025-12-15", entries, "Asia/Tokyo", now)["2.1"]
    assert (found.ended, found.off) == (date(2025, 12, 16), 0)
    again = schedule_gate.kept("2025-12-15", entries[:3], "Asia/Tokyo", now)["2.1"]
    assert (again.ended, again.off) == (None, 10)  # it is not done now


def test_the_canary_ends_at_the_whole_of_the_traffic():
    ends = ((5, 12), (25, 14), (50, 15), (100, 20))
    entries = [
        entry(number, "done", datetime(2026, 1, day, tzinfo=UTC), "2.4", weight=weight)
        for number, (weight, day) in enumerate(ends, 1)
    ]
    now = datetime(2026, 1, 16, tzinfo=UTC)
    assert schedule_gate.kept("2025-12-15", entries[:3], "Asia/Tokyo", now)["2.4"].ended is None
    found = schedule_gate.kept("2025-12-15", entries, "Asia/Tokyo", now)["2.4"]
    assert (found.ended, found.off) == (date(2026, 1, 20), 2)


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.stem)
def test_the_phases_ask_and_no_way_back_does(playbook):
    asks = "tasks_from: schedule_gate" in playbook.read_text()
    assert asks == playbook.stem.startswith("phase-")
    assert asks == (playbook.stem in parameters()["outside_schedule"].only)
