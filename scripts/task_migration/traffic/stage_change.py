"""Changes one stage: each call of UpdateStage with the stage that it results in, applied one by one.

Uses only operations and paths that API Gateway is known to accept: it answers 400 to ``add``, even for a new value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from task_migration import progress
from task_migration.errors import Failed, MigrationError, Refused
from task_migration.external import aws
from task_migration.external.retry import Backoff, retried
from task_migration.traffic.stage import ONE_WAY, Stage, StageCanary, read

CONFLICT_ATTEMPTS = 8
CONFLICT_BACKOFF = Backoff(0.25, 2.0, jitter=0.5)
READ_BACK_SECONDS = 30.0
"""For so long AWS may still return the stage as it was before."""
READ_BACK_BACKOFF = Backoff(0.1, 2.0)

_CANARY = "/canarySettings"


@dataclass(frozen=True)
class Change:
    """One call of UpdateStage: what it does in words, its patch operations, and the stage that it results in."""

    what: str
    operations: tuple[dict[str, str], ...]
    after: Stage


def make_canary(stage: Stage) -> Change:
    """A canary at 0 %, which moves no traffic yet."""
    where = stage.gateway
    overrides = {where.gateway_variable: where.task_service_upstream}
    return Change(
        "the canary is created at 0 %",
        (
            _replace(f"{_CANARY}/percentTraffic", "0.0"),
            _replace(f"{_CANARY}/stageVariableOverrides/{where.gateway_variable}", where.task_service_upstream),
            _replace(f"{_CANARY}/useStageCache", "false"),
        ),
        replace(stage, canary=StageCanary(0.0, stage.deployment_id, overrides, False)),
    )


def set_percent(stage: Stage, percent: float) -> Change:
    """The percentage of the canary, from 0 to 100, which botocore does not check."""
    assert stage.canary is not None
    assert 0 <= percent <= 100
    return Change(
        f"the canary's percentage changes from {stage.canary.percent:g} % to {percent:g} %",
        (_replace(f"{_CANARY}/percentTraffic", f"{percent:.1f}"),),
        replace(stage, canary=replace(stage.canary, percent=float(percent))),
    )


def make_one_way(stage: Stage) -> Change:
    """A second variable, which marks that no traffic may go to Laravel any more."""
    name = f"{stage.gateway.gateway_variable}{ONE_WAY}"
    return Change(
        f"{name} marks the point of no return",
        (_replace(f"/variables/{name}", "true"),),
        replace(stage, variables={**stage.variables, name: "true"}),
    )


def promote(stage: Stage) -> Change:
    """The variable takes the canary's value. The canary is at 100 % first, so that no request goes back to Laravel even
    if the operations are applied slowly or in part."""
    assert stage.canary is not None
    return Change(
        f"{stage.gateway.gateway_variable} is set to {stage.gateway.task_service_upstream}",
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
        f"{where.gateway_variable} is set to {where.laravel_upstream}",
        (_replace(f"/variables/{where.gateway_variable}", where.laravel_upstream),),
        replace(stage, variables={**stage.variables, where.gateway_variable: where.laravel_upstream}),
    )


def remove_canary(stage: Stage) -> Change:
    """No canary: one that is left behind would be used by the next deployment."""
    return Change("the canary is removed", ({"op": "remove", "path": _CANARY},), replace(stage, canary=None))


def end_canary(stage: Stage) -> Change | None:
    """Returns the next call towards no canary; None if there is none. Its traffic goes first, so that its settings stay
    visible until nothing uses them."""
    if stage.canary is None:
        return None
    return set_percent(stage, 0) if stage.canary.percent > 0 else remove_canary(stage)


def _replace(path: str, value: str) -> dict[str, str]:
    return {"op": "replace", "path": path, "value": value}


def plan(stage: Stage, next_change: Callable[[Stage], Change | None]) -> list[Change]:
    """Returns every change until ``next_change`` returns None. Changes nothing."""
    changes = []
    while change := next_change(stage):
        changes.append(change)
        stage = change.after
    return changes


def apply(client: Any, stage: Stage, changes: Sequence[Change], listener: progress.Listener) -> Stage:
    """Makes the changes one by one, each read back before the next; returns the stage as it was last read.

    A run that is interrupted between two calls leaves a state from which the same command reaches its goal. Raises
    Refused if AWS refuses the first change, Failed after that, or if AWS does not return what was written.
    """
    started, state = time.monotonic(), ""
    for number, change in enumerate(changes, 1):
        with aws.under_way(state) if state else nullcontext():
            _write(client, change)
        with aws.under_way(f"AWS was asked for this: {change.what}"):
            stage = _read_back(client, change)
        state = f"{stage.gateway.title} has {stage.summary}"
        listener(progress.Progress("changing the stage", number, len(changes), "calls", time.monotonic() - started))
    return stage


def _write(client: Any, change: Change) -> None:
    """Makes the change. When an answer is lost, botocore asks again, and AWS then refuses to change a canary that is
    gone already. So after an error, the stage itself is read."""
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
    """Calls UpdateStage. Retries a conflict with another change, which botocore does not retry."""
    where = change.after.gateway
    operations = list(change.operations)
    with aws.translated_errors(f"change {where.title}", writes=True):
        try:
            retried(
                lambda: client.update_stage(
                    restApiId=where.gateway_rest_api_id, stageName=where.gateway_stage, patchOperations=operations
                ),
                backoff=CONFLICT_BACKOFF,
                on=client.exceptions.ConflictException,
                attempts=CONFLICT_ATTEMPTS,
            )
        except client.exceptions.ConflictException as conflict:
            raise Refused(
                f"another process is changing {where.title}",
                measured=f"{CONFLICT_ATTEMPTS} attempts, the last: {' '.join(str(conflict).split())}",
                allowed="one change at a time",
                next_step="wait for the deployment of this API to finish, then run the same command again",
            ) from conflict


def _read_back(client: Any, change: Change) -> Stage:
    """Reads the stage until it has what was written."""
    stage = retried(
        lambda: read(client, change.after.gateway),
        backoff=READ_BACK_BACKOFF,
        until=lambda found: found.divides_as(change.after),
        seconds=READ_BACK_SECONDS,
    )
    if not stage.divides_as(change.after):
        raise Failed(
            f"{stage.gateway.title} does not have what was written; {stage.share:g} % goes to the Task Service",
            measured=f"after {READ_BACK_SECONDS:g} s {stage.summary}",
            allowed=change.after.summary,
            next_step="make sure that no other process changes the stage, then run the same command again",
        )
    return stage
