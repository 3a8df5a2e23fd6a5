"""One step of the canary: where a run starts, what is proven already, and to which weight it returns if it fails."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from task_migration.control.phase_gate import phase_gate
from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.sync import fence
from task_migration.traffic.weight import WEIGHTS

_PHASE = "2.4"


@dataclass(frozen=True)
class CanaryStep:
    """What a run for one weight starts with. Weights in percent.

    ``before`` is the weight that is active. ``came_from`` is the weight at which this step started; a run that was
    interrupted had left it already. ``back_to`` is the weight that a failure returns to, always below the wanted one.
    ``promoted``: the stage was promoted by this phase. ``proven``: the wanted weight is active and was judged.
    ``ended``: nothing of this step is left to be done or to be recorded in the journal.
    """

    before: int
    came_from: int
    back_to: int
    promoted: bool
    proven: bool
    ended: bool
    judges_weight_before: bool
    needs_approval: bool

    @property
    def has_work(self) -> bool:
        return not (self.proven and self.ended)


def canary_step(
    *,
    laravel_dsn: str,
    weight: int,
    before: int,
    promoted_before: bool,
    canary_probe_rate: float = 0.0,
    force: bool = False,
    reason: str = "",
    check: bool = False,
) -> Outcome:
    """Works out what this run for ``weight`` starts with, by the journal and the fence; changes nothing.

    ``before`` and ``promoted_before`` are as the stage was read. Details: the fields of ``CanaryStep`` and
    ``has_work``; ``command``, what the operator types for this step; ``evidence``, for the journal. Raises Refused if
    there is no such step.
    """
    phase = phase_gate(laravel_dsn=laravel_dsn, phase=_PHASE, required_state="any")
    step = step_of(
        weight,
        before=before,
        promoted_before=promoted_before,
        probe_rate=canary_probe_rate,
        state=phase.details["state"],
        done=phase.details["done"],
        interrupted=phase.details["begun"],
        fenced=weight == WEIGHTS[-1] and _is_fenced(laravel_dsn),
    )
    what = f"from {step.came_from} % to {weight} %" if step.has_work else f"{weight} % is active and proven already"
    return Outcome(
        False,
        f"{phase.message}; {what}",
        {
            **asdict(step),
            "has_work": step.has_work,
            "command": _command(weight, force, reason),
            "evidence": {"from": step.came_from, "weight": weight, "forced": force, "reason": reason},
        },
    )


def step_of(
    weight: int,
    *,
    before: int,
    promoted_before: bool,
    probe_rate: float,
    state: str,
    done: Collection[str],
    interrupted: Mapping[str, Any],
    fenced: bool,
) -> CanaryStep:
    """Returns what a run for ``weight`` starts with.

    ``state`` and ``done`` are phase 2.4's state and its items that are done; ``interrupted`` is the evidence with
    which a run that was interrupted had started, {} if none was; ``fenced`` whether Laravel is fenced.
    """
    if weight not in WEIGHTS[1:]:
        raise Refused(f"{weight} is not a step of the canary", allowed=", ".join(map(str, WEIGHTS[1:])))
    below, is_last = WEIGHTS[WEIGHTS.index(weight) - 1], weight == WEIGHTS[-1]
    came_from = int(interrupted["from"]) if interrupted.get("weight") == weight else before
    was_judged = f"weight_{weight}" in done
    # Probes are sent for a new judgement.
    proven = before == weight and was_judged and probe_rate == 0
    return CanaryStep(
        before=before,
        came_from=came_from,
        back_to=below if came_from >= weight else came_from,
        # A promotion that a rollback started to undo does not count.
        promoted=promoted_before and "promotion" in done,
        proven=proven,
        # A run that was interrupted after the proof has to record its end, and one whose fence is gone to set it again.
        ended=state == "done" and fenced if is_last else state in ("under way", "done"),
        # A weight that is active but was never proven is judged by the bake.
        judges_weight_before=before != weight or proven,
        # What is at 100 % and proven was approved before it went there.
        needs_approval=is_last and not (before == weight and was_judged),
    )


def _is_fenced(laravel_dsn: str) -> bool:
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.read_only(side, "gate") as connection:
        return fence.active_since(connection) is not None


def _command(weight: int, force: bool, reason: str) -> str:
    forced = f' -e force=true -e "reason={shlex.quote(reason)}"' if force else ""
    return f"ansible-playbook phase-2.4-canary.yml -e weight={weight}{forced}"
