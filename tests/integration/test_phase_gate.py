"""The gate between phases, on a real journal."""

from __future__ import annotations

import pytest
from task_migration.control import journal
from task_migration.control.phase_gate import phase_gate
from task_migration.errors import Refused


@pytest.fixture
def dsn(laravel_database):
    return laravel_database().dsn


def write(dsn, name, result, **evidence):
    journal.journal(laravel_dsn=dsn, phase=name, item="phase", result=result, evidence=evidence)


def test_a_phase_that_is_not_done_is_refused_with_what_to_type(dsn):
    with pytest.raises(Refused, match=r"phase 2\.3 is not done; measured: not started.*phase-2\.3-dual-write"):
        phase_gate(laravel_dsn=dsn, phase="2.3", required_state="done")
    write(dsn, "2.3", "started")
    with pytest.raises(Refused, match="measured: interrupted"):
        phase_gate(laravel_dsn=dsn, phase="2.3", required_state="done")
    write(dsn, "2.3", "done")
    assert phase_gate(laravel_dsn=dsn, phase="2.3", required_state="done").details == {
        "state": "done",
        "done": ["phase"],
        "begun": {},
    }
    write(dsn, "rollback-2.3", "started")
    with pytest.raises(Refused, match="not started"):
        phase_gate(laravel_dsn=dsn, phase="2.3", required_state="done")


def test_what_a_run_that_was_cut_off_had_begun_with_is_told_until_it_ends(dsn):
    write(dsn, "2.4", "started", **{"from": 5, "weight": 25})
    told = phase_gate(laravel_dsn=dsn, phase="2.4", required_state="any").details
    assert (told["state"], told["begun"]) == ("interrupted", {"from": 5, "weight": 25})
    write(dsn, "2.4", "failed", cause="no")
    assert phase_gate(laravel_dsn=dsn, phase="2.4", required_state="any").details["begun"] == {}


def test_nothing_behind_a_canary_may_be_taken_back_before_it_is(dsn):
    phase_gate(laravel_dsn=dsn, phase="2.4", required_state="rolled back")
    write(dsn, "2.4", "started", weight=5)
    write(dsn, "2.4", "done", weight=5)
    with pytest.raises(Refused, match=r"must be rolled back first; measured: under way.*next: .*rollback-2\.4"):
        phase_gate(laravel_dsn=dsn, phase="2.4", required_state="rolled back")
    write(dsn, "rollback-2.4", "started")
    with pytest.raises(Refused, match=r"did not finish.*next: .*rollback-2\.4"):
        phase_gate(laravel_dsn=dsn, phase="2.4", required_state="rolled back")
    write(dsn, "rollback-2.4", "done")
    phase_gate(laravel_dsn=dsn, phase="2.4", required_state="rolled back")


def test_a_phase_that_does_not_exist_is_refused(dsn):
    with pytest.raises(Refused, match=r"there is no such phase; measured: 2\.7"):
        phase_gate(laravel_dsn=dsn, phase="2.7", required_state="any")
