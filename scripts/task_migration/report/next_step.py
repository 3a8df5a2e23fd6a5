"""Decides what the operator types next. The rules are in order: the first one that applies is the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from task_migration.compare import consistency_report
from task_migration.control import approval, checklist, journal
from task_migration.control.checklist import Checked, PhaseState
from task_migration.report.migration_state import MigrationState


@dataclass(frozen=True)
class NextStep:
    """What to type next, and why. ``command`` is "" when nothing is left to type."""

    command: str
    why: str

    def __str__(self) -> str:
        return f"{self.command} ({self.why})" if self.command else self.why


def next_step(state: MigrationState) -> NextStep:
    """Returns the one command to type next. Asks nothing."""
    return (
        _while_a_command_runs(state)
        or _after_the_point_of_no_return(state)
        or _unfinished_rollback(state)
        or _first_copy(state)
        or _next_phase(state)
        or _open_item(one for items in state.checked.values() for one in items)
        or NextStep("", "nothing is left to do")
    )


def _while_a_command_runs(state: MigrationState) -> NextStep | None:
    laravel = state.laravel
    if not laravel.running:
        return None
    return NextStep(
        "ansible-playbook status.yml", f"{laravel.running} is running, started by {laravel.holder_who}; check again"
    )


def _after_the_point_of_no_return(state: MigrationState) -> NextStep | None:
    """Only the phase that passed it is left to finish, whatever else is open, stale or gone."""
    past = state.laravel.past_return
    if past is None:
        return None
    (last,) = (phase for phase in checklist.phases() if phase.phase == past.phase)
    if state.phases[last.phase].state != "done":
        return _start_or_continue(last, state.phases[last.phase], last.command)
    return _open_item(state.checked[last.phase]) or NextStep("", "nothing is left to do: the migration is complete")


def _unfinished_rollback(state: MigrationState) -> NextStep | None:
    """A rollback that stopped half way comes before any phase, unless one of its phases was started again since."""
    for rollback in checklist.rollbacks():
        found = checklist.state_of(rollback.phase, state.laravel.entries)
        if found.state in ("interrupted", "failed") and all(
            state.phases[phase].last is None for phase in rollback.takes_back
        ):
            return NextStep(rollback.command, "the rollback did not finish")
    return None


def _first_copy(state: MigrationState) -> NextStep | None:
    """The first phase, until it is done and the Task Service's database holds a complete copy."""
    first = checklist.phases()[0]
    if state.phases[first.phase].state != "done":
        return _start_or_continue(first, state.phases[first.phase], first.command)
    if not state.task_service.copied:
        return NextStep(first.command, "the Task Service's database has no complete copy")
    return None


def _next_phase(state: MigrationState) -> NextStep | None:
    """The first phase after the copy that is not done, or what it needs first.

    It needs a fresh, green verdict, and an approval where one is configured. Before the first user moves, and before
    rollbacks become impossible, it needs every item of the phases before it.
    """
    others = checklist.phases()[1:]
    phase = next((one for one in others if state.phases[one.phase].state != "done"), None)
    if phase is None:
        return None
    verdict = state.laravel.verdict
    if state.stale and phase.phase != "2.2" and state.phases["2.2"].state == "done":
        return _after_a_red_verdict(verdict) or NextStep("ansible-playbook phase-2.2-verify.yml", state.stale)
    plan = next((one for one in state.plans if one.entry.phase == phase.phase), None)
    is_started = plan is not None or state.phases[phase.phase].state != "not started"
    if (phase.complete or phase is others[-1]) and not is_started:
        before = [one for name, items in state.checked.items() if name < phase.phase for one in items]
        if still_open := _open_item(before):
            return still_open
    command = checklist.following(phase, state.checked[phase.phase])
    return (
        _after_a_red_verdict(verdict)
        or _approval_or_act(plan, state.laravel.now)
        or _start_or_continue(phase, state.phases[phase.phase], command)
    )


def _after_a_red_verdict(verdict: journal.Verdict | None) -> NextStep | None:
    """The first command of the consistency report."""
    if verdict is None or verdict.passed:
        return None
    steps = consistency_report.next_steps(verdict.summary)
    command = next(step["command"] for step in steps if step["command"])
    return NextStep(command, steps[0]["why"])


def _approval_or_act(plan: approval.Waiting | None, now: datetime) -> NextStep | None:
    """Of a plan that needs two people: the approval, then the command that it approves."""
    if plan is None:
        return None
    if approvers := plan.approvers(now):
        return NextStep(plan.command, f"approved by {', '.join(approvers)}")
    approve = f"ansible-playbook approve.yml -e plan={plan.digest[: approval.SHORT]}"
    return NextStep(approve, f"by another operator than {plan.by}, then {plan.command}")


def _open_item(items: Iterable[Checked]) -> NextStep | None:
    """The first item that nothing proves yet."""
    return next((NextStep(one.item.command, f"open: {one.item.en}") for one in items if not one.done), None)


def _start_or_continue(phase: checklist.Phase, state: PhaseState, command: str) -> NextStep:
    if state.state == "under way":
        return NextStep(command, f"the next step of phase {phase.phase}, {phase.en}")
    continues = state.state in ("interrupted", "failed")
    return NextStep(command, "continues where it stopped" if continues else f"starts phase {phase.phase}, {phase.en}")
