"""What a run of phase 2.5 starts with, and what is said if it fails: by what the journal holds."""

from __future__ import annotations

import pytest
from task_migration.errors import Refused
from task_migration.finish import cleanup_step, cleanup_stop
from task_migration.outcome import Outcome


@pytest.fixture
def journal(monkeypatch):
    """``journal(state, *done)`` is what the journal says of phase 2.5; without a state it cannot be read."""

    def holds(state="", *done):
        def phase_gate(**_):
            if not state:
                raise Refused("Laravel's database is away")
            return Outcome(False, f"phase 2.5: {state}", {"state": state, "done": list(done), "begun": {}})

        monkeypatch.setattr(cleanup_step, "phase_gate", phase_gate)

    return holds


@pytest.mark.parametrize(
    ("state", "done", "true"),
    [
        ("not started", (), set()),
        ("interrupted", ("no_way_back",), {"is_past_return"}),
        ("failed", ("no_way_back", "last_writes", "cleanup"), {"is_past_return", "is_synced", "is_cleaned"}),
        (
            "done",
            ("no_way_back", "last_writes", "cleanup", "laravel_code", "monitoring", "completion_report", "phase"),
            {"is_past_return", "is_synced", "is_cleaned", "is_committed", "has_alarms", "is_ended"},
        ),
    ],
)
def test_what_an_earlier_run_did_is_known(journal, state, done, true):
    journal(state, *done)
    found = cleanup_step.cleanup_step(laravel_dsn="").details
    assert {name for name, is_so in found.items() if is_so} == true
    assert len(found) == 6


@pytest.mark.parametrize(
    ("state", "done", "said"),
    [
        ("failed", (), "nothing was removed, and every rollback is still possible"),
        ("failed", ("no_way_back",), "it is past the point of no return, and the Task Service serves every user"),
        ("", (), "ansible-playbook status.yml shows whether a rollback is possible"),
    ],
)
def test_a_failure_says_whether_there_is_a_rollback(journal, state, done, said):
    journal(state, *done)
    message = cleanup_stop.cleanup_stop(laravel_dsn="", cause="no room", journal_error="away").details["message"]
    assert message.startswith("Phase 2.5 stopped: no room; the journal could not be written: away; then: ansible-play")
    assert message.endswith(said)
