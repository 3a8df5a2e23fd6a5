"""The weight: sets the percentage of the task routes' traffic that goes to the Task Service, from any state.

It needs no database and no metrics, only GetStage and UpdateStage on one stage, because a rollback uses it.
"""

from __future__ import annotations

from typing import Any, NoReturn

from task_migration import progress
from task_migration.errors import Failed, Refused
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.parameters import parameters
from task_migration.traffic import stage_change
from task_migration.traffic.stage import ONE_WAY, Gateway, Stage, read, refuse_cache, refuse_foreign, refuse_invalid
from task_migration.traffic.stage_change import Change

WEIGHTS = tuple(sorted(int(choice) for choice in parameters()["weight"].choices))
"""In order, in percent: each is proven before the next one is set."""

_CANARY = "ansible-playbook phase-2.4-canary.yml"


def weight(
    *,
    gateway: Gateway,
    aws: Aws,
    weight: int,
    force: bool = False,
    reason: str = "",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Sends ``weight`` percent of the requests to the Task Service; each call is read back.

    The present weight, the next one up and 0 need nothing more; any other one is out of order and needs ``force`` with
    a ``reason``. A run that was interrupted continues where it stopped. Details: ``before`` and ``weight`` in percent,
    ``promoted_before``, and of the stage as it was last read ``stage`` and ``last_updated`` (ISO 8601, "" where AWS
    does not return it). Raises Refused for a weight out of order and for a stage with settings that are not the
    runbook's, Failed if the stage does not have what was written.
    """
    refuse_invalid(gateway)
    client = aws.client("apigateway")
    before = read(client, gateway)
    if weight == 0 and before.is_one_way:
        raise Refused(
            "no traffic may go to Laravel: it is past the point of no return, and Laravel refuses every write",
            measured=f"{gateway.title} has the variable {gateway.gateway_variable}{ONE_WAY}",
            allowed="100 % to the Task Service",
            next_step="fix the Task Service",
        )
    try:
        refuse_foreign(before)
    except Refused as foreign:
        if weight == 0 and not check and _sends_users(before):
            _send_all_to_laravel(client, before, foreign, listener)
        raise
    _refuse_out_of_order(before, weight, force, reason)
    if weight > before.share:
        refuse_cache(before)
    changes = stage_change.plan(before, lambda one: next_change(one, weight))
    stage = before if check else stage_change.apply(client, before, changes, listener)
    return Outcome(
        bool(changes),
        f"traffic: {_summary(before, weight, changes, check)}",
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
    """Returns the next call towards the weight, from any state that the runbook leaves; None if it is reached.

    On the way, the share never leaves the range between the old and the new weight.
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
    """Returns whether a canary that is not the runbook's sends users to the Task Service, and Laravel serves the
    others."""
    where, canary = stage.gateway, stage.canary
    override = canary.overrides.get(where.gateway_variable) if canary else None
    return (
        canary is not None
        and canary.percent > 0
        and override == where.task_service_upstream
        and stage.upstream == where.laravel_upstream
    )


def _send_all_to_laravel(client: Any, stage: Stage, foreign: Refused, listener: progress.Listener) -> NoReturn:
    """Sets a canary that is not the runbook's to 0 %, which is always safe for users. The canary itself remains.

    Raises Failed, always.
    """
    stage_change.apply(client, stage, [stage_change.set_percent(stage, 0)], listener)
    raise Failed(
        f"all traffic goes to Laravel, and a canary remains at 0 %: {foreign.what}",
        measured=foreign.measured,
        allowed=foreign.allowed,
        next_step=foreign.next_step,
    ) from foreign


def _refuse_out_of_order(stage: Stage, weight: int, force: bool, reason: str) -> None:
    """Raises Refused unless the weight is the present one, the next one up, or 0, or is forced with a reason."""
    if weight not in WEIGHTS:
        raise Refused(f"{weight} is not a weight", allowed=", ".join(map(str, WEIGHTS)))
    if weight in (0, stage.share):
        return
    measured = f"{stage.share:g} % goes to the Task Service" + (", without a canary" if stage.promoted else "")
    if stage.share not in WEIGHTS:
        raise Refused(
            f"{stage.gateway.title} has a percentage that the runbook did not set",
            measured=measured,
            allowed="from there, only 0",
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
            f"the weight {weight} is out of order, and was forced without a reason",
            measured=measured,
            allowed="force=true with a reason, which the journal records",
            next_step=f"{_CANARY} -e weight={weight} -e force=true -e \"reason='...'\"",
        )


def _next_step(stage: Stage, following: int | None) -> str:
    if stage.promoted:
        return "ansible-playbook rollback-2.4.yml rolls it back"
    forced = "to set it all the same, add -e force=true -e \"reason='...'\""
    return forced if following is None else f"{_CANARY} -e weight={following}; {forced}"


def _summary(before: Stage, weight: int, changes: list[Change], check: bool) -> str:
    moved = f"{before.share:g} % -> {weight} % to the Task Service"
    if not changes:
        return f"{weight} % already goes to the Task Service"
    if before.share == weight:
        return f"{weight} % already goes to the Task Service; the canary {'would be' if check else 'was'} removed"
    return f"would change {moved}" if check else f"{moved}, read back"
