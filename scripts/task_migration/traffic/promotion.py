"""The promotion: sends all traffic to the Task Service without a canary.

API Gateway's own promotion leaves the canary on the stage, and the next deployment would use it; this one removes it.
"""

from __future__ import annotations

from task_migration import progress
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.traffic import stage_change
from task_migration.traffic.stage import Gateway, Stage, read, refuse_foreign, refuse_invalid
from task_migration.traffic.stage_change import Change


def promotion(
    *,
    gateway: Gateway,
    aws: Aws,
    one_way: bool = False,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Sets the stage variable to the Task Service's host and removes the canary; each call is read back.

    No traffic moves: 100 percent goes to the Task Service before. A run that was interrupted continues where it
    stopped. ``one_way`` also marks the stage as past the point of no return, for a rollback that cannot ask a
    database. Details: ``promoted_before``, and of the stage as it was last read ``stage`` and ``last_updated``
    (ISO 8601, "" where AWS does not return it). Raises Refused below 100 percent and for a stage with settings that
    are not the runbook's, Failed if the stage does not have what was written.
    """
    refuse_invalid(gateway)
    client = aws.client("apigateway")
    before = read(client, gateway)
    refuse_foreign(before)
    if before.share != 100:
        raise Refused(
            "promotion needs 100 % of the traffic on the Task Service",
            measured=f"{before.share:g} % goes to the Task Service",
            allowed="100 %",
            next_step="ansible-playbook status.yml shows the next weight",
        )
    changes = stage_change.plan(before, next_change)
    if one_way and not before.is_one_way:
        changes = [*changes, stage_change.make_one_way(changes[-1].after if changes else before)]
    stage = before if check else stage_change.apply(client, before, changes, listener)
    return Outcome(
        bool(changes),
        f"promotion: {_summary(changes, check)}",
        {
            "promoted_before": before.promoted,
            "stage": stage.details,
            "last_updated": stage.last_updated.isoformat() if stage.last_updated else "",
        },
        tuple(change.what for change in changes),
    )


def next_change(stage: Stage) -> Change | None:
    """Returns the next call from 100 percent to no canary; None if there is none left to make."""
    return stage_change.end_canary(stage) if stage.promoted else stage_change.promote(stage)


def _summary(changes: list[Change], check: bool) -> str:
    if not changes:
        return "all requests already go to the Task Service without a canary"
    return f"all requests {'would go' if check else 'go'} to the Task Service without a canary" + (
        "" if check else ", read back"
    )
