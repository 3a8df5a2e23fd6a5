"""The end of a canary step that failed: what is rolled back, and what the operator is shown."""

from __future__ import annotations

from task_migration.outcome import Outcome
from task_migration.traffic.weight import WEIGHTS

_ROLLBACK = "ansible-playbook rollback-2.4.yml sends all traffic to Laravel"


def canary_stop(
    *,
    weight: int,
    back_to: int,
    promoted: bool,
    weight_was_set: bool,
    promotion_was_started: bool,
    cause: str = "",
    rollback_error: str = "",
    weight_now: float = 100.0,
    check: bool = False,
) -> Outcome:
    """Decides what a step that failed rolls back, and describes it; changes nothing.

    ``promoted`` and ``back_to`` are the step's. ``weight_was_set`` and ``promotion_was_started`` say how far this run
    got, ``weight_now`` the share in percent that was read after the failure. Details: ``opens_fence`` and
    ``lowers_weight``, what is rolled back; ``message``, the whole failure in one line.
    """
    # A promotion is continued and not rolled back: from its start on the Task Service alone serves.
    keeps_promotion = weight == WEIGHTS[-1] and (promoted or promotion_was_started)
    details = {
        "opens_fence": weight == WEIGHTS[-1] and not keeps_promotion,
        # Never up: traffic that was sent to Laravel meanwhile stays there.
        "lowers_weight": weight_was_set and not keeps_promotion and weight_now > back_to,
        "message": stop_message(
            weight,
            cause=cause,
            rollback_error=rollback_error,
            keeps_promotion=keeps_promotion,
            weight_was_set=weight_was_set,
            share=int(min(weight_now, back_to)),
        ),
    }
    return Outcome(False, f"phase 2.4 stopped at {weight} %", details)


def stop_message(
    weight: int, *, cause: str, rollback_error: str, keeps_promotion: bool, weight_was_set: bool, share: int
) -> str:
    """Returns the failure of a step: its cause, where traffic is now (``share`` percent), and what to type."""
    error = f"; the automatic rollback failed too: {rollback_error}" if rollback_error else ""
    if keeps_promotion:
        now = (
            "the Task Service serves every user; "
            f"ansible-playbook phase-2.4-canary.yml -e weight={weight} continues the promotion"
        )
    elif rollback_error:
        now = "ansible-playbook status.yml shows where traffic is"
    elif weight_was_set:
        now = f"{share} % of the traffic goes to the Task Service now"
    else:
        now = "no traffic was moved"
    return f"Phase 2.4 stopped at {weight} %: {cause}{error}; then: {now}, {_ROLLBACK}"
