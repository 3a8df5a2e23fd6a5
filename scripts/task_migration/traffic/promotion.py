"""The promotion: all traffic goes to the Task Service without a canary.

API Gateway's own promotion leaves the canary on the stage, where the next deployment would wake it; this removes it.
"""

from __future__ import annotations

from task_migration import progress
from task_migration.errors import Refused
from task_migration.external import aws
from task_migration.outcome import Outcome
from task_migration.traffic import stage_change
from task_migration.traffic.stage import Stage, gateway, read, refuse_foreign
from task_migration.traffic.stage_change import Change


def promotion(
    *,
    gateway_rest_api_id: str,
    gateway_stage: str,
    gateway_variable: str,
    laravel_upstream: str,
    task_service_upstream: str,
    aws_region: str,
    aws_endpoint_url: str = "",
    one_way: bool = False,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Gives the stage variable the Task Service's value and ends the canary, each call read back.

    Nothing of the traffic moves: it is at 100 percent before. A run that was cut off is taken up where it stopped.
    ``one_way`` says on the stage, too, that there is no way back any more, for whoever has no database to ask.
    Details: ``promoted_before``, and of the stage as it was last read ``stage`` and ``last_updated`` (ISO 8601, ""
    where AWS does not say). Raises Refused below 100 percent and for a stage that is not as the runbook leaves it,
    Failed where the stage is not as it was written.
    """
    where = gateway(
        gateway_rest_api_id=gateway_rest_api_id,
        gateway_stage=gateway_stage,
        gateway_variable=gateway_variable,
        laravel_upstream=laravel_upstream,
        task_service_upstream=task_service_upstream,
    )
    client = aws.client("apigateway", aws_region=aws_region, aws_endpoint_url=aws_endpoint_url)
    before = read(client, where)
    refuse_foreign(before)
    if before.share != 100:
        raise Refused(
            "only what serves all requests is promoted",
            measured=f"{before.share:g} % goes to the Task Service",
            allowed="100 %",
            next_step="ansible-playbook phase-2.4-canary.yml with the next -e weight=...",
        )
    changes = stage_change.path(before, next_change)
    if one_way and not before.is_one_way:
        changes = [*changes, stage_change.make_one_way(changes[-1].after if changes else before)]
    stage = before if check else stage_change.carry_out(client, before, changes, listener)
    return Outcome(
        bool(changes),
        f"promotion: {_told(changes, check)}",
        {
            "promoted_before": before.promoted,
            "stage": stage.details,
            "last_updated": stage.last_updated.isoformat() if stage.last_updated else "",
        },
        tuple(change.what for change in changes),
    )


def next_change(stage: Stage) -> Change | None:
    """The one call that comes next on the way from 100 percent to no canary at all; None there."""
    return stage_change.end_canary(stage) if stage.promoted else stage_change.promote(stage)


def _told(changes: list[Change], check: bool) -> str:
    if not changes:
        return "all requests go to the Task Service without a canary already"
    return f"all requests {'would go' if check else 'go'} to the Task Service without a canary" + (
        "" if check else ", read back"
    )
