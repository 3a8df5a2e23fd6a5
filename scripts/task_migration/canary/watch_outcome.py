"""What the watch reports after a breach: the alert about its rollback, and the failure that ends it."""

from __future__ import annotations

from typing import Literal

from task_migration.outcome import Outcome
from task_migration.traffic.weight import WEIGHTS

_WATCH = "ansible-playbook watch.yml"


def watch_outcome(
    *,
    rolls_back: Literal["2.4", "2.3"],
    cause: str,
    rollback_error: str = "",
    traffic_was_moved: bool = False,
    check: bool = False,
) -> Outcome:
    """Describes how the rollback of a breach ended; changes nothing.

    ``rolls_back`` is the phase: 2.4 the canary, 2.3 the dual write. ``rollback_error`` is what it failed with, "" if it
    did not; ``traffic_was_moved`` whether all traffic goes to Laravel. Details: ``subject`` and ``message`` of the
    alert, and ``failure``, the whole in one line.
    """
    what = {"2.4": "canary", "2.3": "dual write"}[rolls_back]
    done = "could NOT be" if rollback_error else "would be" if check else "was"
    failure = (
        _canary(cause, rollback_error, traffic_was_moved, check)
        if rolls_back == "2.4"
        else _dual_write(cause, rollback_error, check)
    )
    return Outcome(
        False,
        f"watch: the {what} {done} rolled back",
        {
            "subject": f"Task migration: the {what} {done} rolled back",
            "message": cause + (f"; the rollback failed: {rollback_error}" if rollback_error else ""),
            "failure": failure,
        },
    )


def _canary(cause: str, rollback_error: str, traffic_was_moved: bool, check: bool) -> str:
    if rollback_error:
        end = "could NOT be rolled back"
        if traffic_was_moved and not check:
            end = "was NOT rolled back completely, although all traffic goes to Laravel"
        step = "ansible-playbook rollback-2.4.yml continues where it stopped"
        return f"The canary {end}: {rollback_error}; breached: {cause}; then: {step}"
    if check:
        return (
            f"The canary would be rolled back: all traffic to Laravel; breached: {cause}; then: {_WATCH} rolls it back"
        )
    return (
        "The canary was rolled back: all traffic goes to Laravel, which has every write that the Task Service took; "
        f"breached: {cause}; then: {_WATCH} continues to watch the dual write; fix the cause, then ansible-playbook "
        f"phase-2.4-canary.yml -e weight={WEIGHTS[1]} starts the canary again"
    )


def _dual_write(cause: str, rollback_error: str, check: bool) -> str:
    if rollback_error:
        return (
            f"The dual write could NOT be rolled back: {rollback_error}; breached: {cause}; then: ansible-playbook "
            "rollback-2.3.yml continues where it stopped"
        )
    if check:
        return f"The dual write would be rolled back; breached: {cause}; then: {_WATCH} rolls it back"
    return (
        f"The dual write was rolled back: only Laravel is written; breached: {cause}; then: fix the cause, then "
        "ansible-playbook phase-2.2-verify.yml, then ansible-playbook phase-2.3-dual-write.yml"
    )
