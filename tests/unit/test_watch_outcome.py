"""What the watch says when it rolled back what was breached, and when it could not."""

from __future__ import annotations

import pytest
from task_migration.canary.watch_outcome import watch_outcome

CAUSE = "error rate: 7 % (allowed: 5 %)"


def outcome(rolls_back, **more):
    return watch_outcome(rolls_back=rolls_back, cause=CAUSE, **more).details


@pytest.mark.parametrize(
    ("details", "subject", "failure"),
    [
        (outcome("2.4"), "the canary was rolled back", "The canary was rolled back: all traffic goes to Laravel"),
        (outcome("2.4", check=True), "the canary would be rolled back", "The canary would be rolled back"),
        (
            outcome("2.4", rollback_error="X", traffic_was_moved=True),
            "the canary could NOT be rolled back",
            "The canary was NOT rolled back completely, although all traffic goes to Laravel: X",
        ),
        (
            outcome("2.4", rollback_error="X"),
            "the canary could NOT be rolled back",
            "The canary could NOT be rolled back: X",
        ),
        (
            outcome("2.4", rollback_error="X", traffic_was_moved=True, check=True),
            "the canary could NOT be rolled back",
            "The canary could NOT be rolled back: X",
        ),
        (outcome("2.3"), "the dual write was rolled back", "The dual write was rolled back: only Laravel is written"),
        (outcome("2.3", check=True), "the dual write would be rolled back", "The dual write would be rolled back"),
        (
            outcome("2.3", rollback_error="X"),
            "the dual write could NOT be rolled back",
            "The dual write could NOT be rolled back: X",
        ),
    ],
)
def test_what_was_rolled_back_is_said_in_the_alert_and_at_the_end(details, subject, failure):
    assert details["subject"] == f"Task migration: {subject}"
    assert details["failure"].startswith(failure)
    assert f"; breached: {CAUSE}; then: " in details["failure"]
    assert details["message"] in (CAUSE, f"{CAUSE}; the rollback failed: X")


def test_what_to_type_next_leads_on():
    assert "-e weight=5 starts the canary again" in outcome("2.4")["failure"]
    assert outcome("2.4", rollback_error="X")["failure"].endswith(
        "ansible-playbook rollback-2.4.yml continues where it stopped"
    )
    assert outcome("2.3")["failure"].endswith("phase-2.2-verify.yml, then ansible-playbook phase-2.3-dual-write.yml")
