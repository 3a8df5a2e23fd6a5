"""A phase outside of its window asks: at a terminal, without one, answered beforehand, and in check mode."""

from __future__ import annotations

import pytest

from .terminal import typed

LATE = ("phase-2.2-verify.yml", "-e", "rollback_test=false", "-e", "schedule_begins=2025-12-15")


def untouched(lab):
    return lab.catalog(), lab.reports() - {"runs.jsonl"}, starts(lab)


def starts(lab):
    return [row[0] for row in lab.rows("SELECT evidence FROM task_migration.journal WHERE phase = '2.2' ORDER BY id")]


@pytest.mark.parametrize("answer", ["no", ""])
def test_at_a_terminal_any_answer_but_yes_touches_nothing(prepared, answer):
    before = untouched(prepared)
    shown, code = typed(prepared, LATE, "Type yes", answer)
    assert code != 0
    assert "Refused, nothing was changed: this is outside the planned dates" in " ".join(shown.split())
    assert untouched(prepared) == before


def test_ctrl_c_at_the_question_is_no_yes(prepared):
    before = untouched(prepared)
    # It ends the run at once, or Ansible asks whether to continue, and is told to: that depends on the moment.
    shown, code = typed(prepared, LATE, "Type yes", "\x03")
    assert code != 0, shown
    assert "Done in" not in shown
    assert untouched(prepared) == before, shown


def test_at_a_terminal_yes_goes_on_and_is_written_down(prepared):
    shown, code = typed(prepared, LATE, "Type yes", "yes")
    assert code == 0, shown
    assert any(one.get("outside_schedule", "").endswith("days late, yes when asked") for one in starts(prepared))


def test_without_a_terminal_it_is_refused_with_what_to_type_unless_it_was_answered_beforehand(prepared):
    before = untouched(prepared)
    ran = prepared.type(*LATE)
    assert ran.code != 0
    assert len(ran.errors) == 1
    assert "-e outside_schedule=yes" in ran.errors[0]
    assert untouched(prepared) == before
    assert (
        "WARNING: phase 2.2 is planned for 2025-12-22..2025-12-28"
        in prepared.must(*LATE, "-e", "outside_schedule=yes").said
    )
    assert any(one.get("outside_schedule", "").endswith("days late, yes beforehand") for one in starts(prepared))


def test_the_way_home_asks_nobody(prepared):
    ran = prepared.must("phase-2.4-canary.yml", "-e", "weight=0", "-e", "schedule_begins=2025-12-15", "--check")
    assert "is planned for" not in ran.said


def test_check_mode_warns_and_asks_nobody(prepared):
    ran = prepared.must(*LATE, "--check")
    assert "WARNING: phase 2.2 is planned for" in ran.said


def test_status_shows_what_was_planned(prepared):
    assert "[planned 2025-12-15..2025-12-21, " in prepared.must("status.yml", "-e", "schedule_begins=2025-12-15").said
