"""Changes of one stage: the calls of UpdateStage, each with the stage that it makes, carried out one by one.

Only operations and paths that API Gateway is recorded to take: it answers 400 to ``add``, even for what is not there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from task_migration import progress
from task_migration.errors import Failed, MigrationError, Refused
from task_migration.external import aws
from task_migration.traffic.stage import ONE_WAY, Stage, StageCanary, read

CONFLICT_ATTEMPTS = 8
CONFLICT_PAUSE_SECONDS = 0.25
"""Doubled after each conflict, up to eight times as long, and jittered so that two who met do not meet again."""
READ_BACK_SECONDS = 30.0
"""For so long AWS may still tell of the stage as it was before."""
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0

_CANARY = "/canarySettings"


@dataclass(frozen=True)
class Change:
    """One call of UpdateStage: what it does in words, its patch operations, and the stage that it makes."""

    what: str
    operations: tuple[dict[str, str], ...]
    after: Stage


def make_canary(stage: Stage) -> Change:
    """A canary at 0 %, which sends nobody anywhere yet."""
    where = stage.gateway
    overrides = {where.variable: where.task_service_upstream}
    return Change(
        "the canary is made at 0 %",
        (
            _replace(f"{_CANARY}/percentTraffic", "0.0"),
            _replace(f"{_CANARY}/stageVariableOverrides/{where.variable}", where.task_service_upstream),
            _replace(f"{_CANARY}/useStageCache", "false"),
        ),
        replace(stage, canary=StageCanary(0.0, stage.deployment_id, overrides, False)),
    )


def set_percent(stage: Stage, percent: float) -> Change:
    """The canary's share. ``percent`` is from 0 to 100, which botocore does not look at."""
    assert stage.canary is not None
    assert 0 <= percent <= 100
    return Change(
        f"the canary's share goes from {stage.canary.percent:g} % to {percent:g} %",
        (_replace(f"{_CANARY}/percentTraffic", f"{percent:.1f}"),),
        replace(stage, canary=replace(stage.canary, percent=float(percent))),
    )


def make_one_way(stage: Stage) -> Change:
    """A variable beside the other says that nobody may be sent to Laravel any more."""
    name = f"{stage.gateway.variable}{ONE_WAY}"
    return Change(
        f"{name} says that there is no way back",
        (_replace(f"/variables/{name}", "true"),),
        replace(stage, variables={**stage.variables, name: "true"}),
    )


def promote(stage: Stage) -> Change:
    """The variable takes the canary's value. At 100 % first: not even a list that is carried out slowly or in part
    sends anybody back to Laravel."""
    assert stage.canary is not None
    return Change(
        f"{stage.gateway.variable} becomes {stage.gateway.task_service_upstream}",
        (
            _replace(f"{_CANARY}/percentTraffic", "100.0"),
            {"op": "copy", "from": f"{_CANARY}/stageVariableOverrides", "path": "/variables"},
            {"op": "copy", "from": f"{_CANARY}/deploymentId", "path": "/deploymentId"},
        ),
        replace(
            stage, variables={**stage.variables, **stage.canary.overrides}, canary=replace(stage.canary, percent=100.0)
        ),
    )


def undo_promote(stage: Stage) -> Change:
    """The variable takes Laravel's value again."""
    where = stage.gateway
    return Change(
        f"{where.variable} becomes {where.laravel_upstream}",
        (_replace(f"/variables/{where.variable}", where.laravel_upstream),),
        replace(stage, variables={**stage.variables, where.variable: where.laravel_upstream}),
    )


def remove_canary(stage: Stage) -> Change:
    """A canary that is left behind would be taken for a new one at the next deployment."""
    return Change("the canary is removed", ({"op": "remove", "path": _CANARY},), replace(stage, canary=None))


def end_canary(stage: Stage) -> Change | None:
    """The call that comes next on the way to no canary; None there. Traffic first, so that what it was stays to be seen
    until it is certain that nothing takes it."""
    if stage.canary is None:
        return None
    return set_percent(stage, 0) if stage.canary.percent > 0 else remove_canary(stage)


def _replace(path: str, value: str) -> dict[str, str]:
    return {"op": "replace", "path": path, "value": value}


def path(stage: Stage, next_change: Callable[[Stage], Change | None]) -> list[Change]:
    """Every change from the stage to where ``next_change`` has nothing left to do."""
    changes = []
    while change := next_change(stage):
        changes.append(change)
        stage = change.after
    return changes


def carry_out(client: Any, stage: Stage, changes: Sequence[Change], listener: progress.Listener) -> Stage:
    """Makes the changes one after the other, each read back before the next; gives the stage as it was last read.

    A run that is cut off between two calls leaves a state from which the same goal is reached again. Raises Refused if
    AWS refuses the first one, Failed after that, or if AWS does not tell of what was written.
    """
    began, state = time.monotonic(), ""
    for number, change in enumerate(changes, 1):
        with aws.under_way(state) if state else nullcontext():
            _write(client, change)
        with aws.under_way(f"it was asked that {change.what}"):
            stage = _read_back(client, change)
        state = f"{stage.gateway.title} has {stage.told}"
        listener(progress.Progress("changing the stage", number, len(changes), "calls", time.monotonic() - began))
    return stage


def _write(client: Any, change: Change) -> None:
    """Has the change made. When an answer is lost botocore asks again, and what AWS then says of a canary that is gone
    already is no error: the stage itself is asked."""
    try:
        _update(client, change)
    except MigrationError:
        if not _is_made(client, change):
            raise


def _is_made(client: Any, change: Change) -> bool:
    try:
        return read(client, change.after.gateway).divides_as(change.after)
    except MigrationError:
        return False


def _update(client: Any, change: Change) -> None:
    """UpdateStage; a conflict with somebody else's, which botocore never tries again, is tried again here."""
    where, conflict = change.after.gateway, ""
    for attempt in range(CONFLICT_ATTEMPTS):
        if attempt:
            time.sleep(CONFLICT_PAUSE_SECONDS * min(2 ** (attempt - 1), 8) * random.uniform(0.5, 1.0))
        with aws.translated_errors(f"change {where.title}", writes=True):
            try:
                client.update_stage(
                    restApiId=where.rest_api_id, stageName=where.stage, patchOperations=list(change.operations)
                )
                return
            except client.exceptions.ConflictException as error:
                conflict = " ".join(str(error).split())
    raise Refused(
        f"somebody else is changing {where.title}",
        measured=f"{CONFLICT_ATTEMPTS} times {conflict}",
        allowed="one who changes it at a time",
        next_step="wait for the deployment that is under way on this API, then run the same command again",
    )


def _read_back(client: Any, change: Change) -> Stage:
    """The stage, once AWS tells of it as it was written."""
    until, pause = time.monotonic() + READ_BACK_SECONDS, SHORTEST_PAUSE_SECONDS
    while not (stage := read(client, change.after.gateway)).divides_as(change.after):
        if time.monotonic() > until:
            raise Failed(
                f"{stage.gateway.title} is not as it was written; {stage.share:g} % goes to the Task Service",
                measured=f"after {READ_BACK_SECONDS:g} s {stage.told}",
                allowed=change.after.told,
                next_step="see that nobody else changes the stage, then run the same command again",
            )
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    return stage
