"""The weight: the share of the task routes' traffic that goes to the Task Service, brought about from any state.

It needs no database and no figures, only GetStage and UpdateStage on one stage: the way back leads through here.
"""

from __future__ import annotations

from typing import Any, NoReturn

from task_migration import progress
from task_migration.errors import Failed, Refused
from task_migration.external import aws
from task_migration.outcome import Outcome
from task_migration.traffic import stage_change
from task_migration.traffic.stage import ONE_WAY, Stage, gateway, read, refuse_cache, refuse_foreign
from task_migration.traffic.stage_change import Change

WEIGHTS = (0, 5, 25, 50, 100)
"""In order: each proves itself before the next. Percent."""

_CANARY = "ansible-playbook phase-2.4-canary.yml"


def weight(
    *,
    gateway_rest_api_id: str,
    gateway_stage: str,
    gateway_variable: str,
    laravel_upstream: str,
    task_service_upstream: str,
    aws_region: str,
    aws_endpoint_url: str = "",
    weight: int,
    force: bool = False,
    reason: str = "",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Sends ``weight`` percent of the requests to the Task Service, each call read back.

    The weight that is in force, the next one up and 0 need nothing more; any other one is out of order and needs
    ``force`` with a ``reason``. A run that was cut off is taken up where it stopped. Details: ``before`` and ``weight``
    in percent, ``promoted_before``, and of the stage as it was last read ``stage`` and ``last_updated`` (ISO 8601, ""
    where AWS does not say). Raises Refused for a weight out of order and for a stage that is not as the runbook leaves
    it, Failed where the stage is not as it was written.
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
    if weight == 0 and before.is_one_way:
        raise Refused(
            "nobody may be sent to Laravel any more: the migration has ended, and Laravel refuses every write",
            measured=f"{where.title} has the variable {where.variable}{ONE_WAY}",
            allowed="the Task Service for everybody",
            next_step="mend the Task Service; ansible-playbook status.yml says since when there is no way back",
        )
    try:
        refuse_foreign(before)
    except Refused as foreign:
        if weight == 0 and not check and _sends_users(before):
            _bring_home(client, before, foreign, listener)
        raise
    _refuse_out_of_order(before, weight, force, reason)
    if weight > before.share:
        refuse_cache(before)
    changes = stage_change.path(before, lambda one: next_change(one, weight))
    stage = before if check else stage_change.carry_out(client, before, changes, listener)
    return Outcome(
        bool(changes),
        f"traffic: {_told(before, weight, changes, check)}",
        {
            "before": int(before.share) if before.share.is_integer() else before.share,
            "weight": weight,
            "promoted_before": before.promoted,
            "stage": stage.details,
            "last_updated": stage.last_updated.isoformat() if stage.last_updated else "",
        },
        tuple(change.what for change in changes),
    )


def next_change(stage: Stage, weight: int) -> Change | None:
    """The one call that comes next on the way to the weight, from any state that the runbook leaves; None there.

    On no way does the share pass a value that is not between where it was and where it goes.
    """
    if weight == 0:
        return stage_change.undo_promote(stage) if stage.promoted else stage_change.end_canary(stage)
    if stage.promoted and weight == 100:
        return None
    if stage.canary is None or not stage.has_canary:
        return stage_change.make_canary(stage)
    if stage.canary.percent != weight:
        return stage_change.set_percent(stage, weight)
    return stage_change.undo_promote(stage) if stage.promoted else None


def _sends_users(stage: Stage) -> bool:
    """Whether a canary that is not the runbook's sends users to the Task Service, and Laravel serves the others."""
    where, canary = stage.gateway, stage.canary
    override = canary.overrides.get(where.variable) if canary else None
    return (
        canary is not None
        and canary.percent > 0
        and override == where.task_service_upstream
        and stage.upstream == where.laravel_upstream
    )


def _bring_home(client: Any, stage: Stage, foreign: Refused, listener: progress.Listener) -> NoReturn:
    """Its percentage may always be put to 0: users come before whoever made it. The canary itself stays.

    Raises Failed, which says so.
    """
    stage_change.carry_out(client, stage, [stage_change.set_percent(stage, 0)], listener)
    raise Failed(
        f"all traffic goes to Laravel, at 0 % of a canary that stays: {foreign.what}",
        measured=foreign.measured,
        allowed=foreign.allowed,
        next_step=foreign.next_step,
    ) from foreign


def _refuse_out_of_order(stage: Stage, weight: int, force: bool, reason: str) -> None:
    """Raises Refused for a weight that is not the one in force, the next one up, or 0, unless it is meant."""
    if weight not in WEIGHTS:
        raise Refused(f"there is no weight {weight}", allowed=", ".join(map(str, WEIGHTS)))
    if weight in (0, stage.share):
        return
    measured = f"{stage.share:g} % goes to the Task Service" + (", without a canary" if stage.promoted else "")
    if stage.share not in WEIGHTS:
        raise Refused(
            f"{stage.gateway.title} has a share that the runbook did not set",
            measured=measured,
            allowed="from there only 0",
            next_step=f"{_CANARY} -e weight=0",
        )
    following = None if stage.share == WEIGHTS[-1] else WEIGHTS[WEIGHTS.index(int(stage.share)) + 1]
    if weight == following:
        return
    if not force:
        raise Refused(
            f"the weight {weight} is out of order",
            measured=measured,
            allowed="0" if following is None else f"0 or {following}",
            next_step=_next_step(stage, following),
        )
    if not reason.strip():
        raise Refused(
            f"the weight {weight} is out of order, and forced without a reason",
            measured=measured,
            allowed="force with a reason, for the journal",
            next_step=f"{_CANARY} -e weight={weight} -e force=true -e \"reason='...'\"",
        )


def _next_step(stage: Stage, following: int | None) -> str:
    if stage.promoted:
        return "the way back is rollback-2.4.yml: ansible-playbook rollback-2.4.yml"
    meant = "if it is meant, add -e force=true -e \"reason='...'\""
    return meant if following is None else f"{_CANARY} -e weight={following}; {meant}"


def _told(before: Stage, weight: int, changes: list[Change], check: bool) -> str:
    moved = f"{before.share:g} % -> {weight} % to the Task Service"
    if not changes:
        return f"{weight} % goes to the Task Service already"
    if before.share == weight:
        return f"{weight} % goes to the Task Service already; the canary {'would be' if check else 'was'} removed"
    return f"would go {moved}" if check else f"{moved}, read back"
