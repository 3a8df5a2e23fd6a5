"""The gate between phases: checks in the journal that another phase is in the state that this one needs."""

from __future__ import annotations

from typing import Literal

from task_migration import times
from task_migration.control import checklist, journal
from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.postgres import database


def phase_gate(
    *, laravel_dsn: str, phase: str, required_state: Literal["done", "rolled back", "any"], check: bool = False
) -> Outcome:
    """Refuses unless ``phase`` is done, or unless nothing of it is left to roll back. Changes nothing.

    ``rolled back`` is also true for a phase that never started; a rollback that did not finish does not count. Details:
    ``state``; ``done``, the items that are done and not rolled back, in order; ``begun``, the evidence that an
    interrupted run wrote with its start, {} without one. Raises Refused with the command to type first, or if there is
    no such phase.
    """
    known = {one.phase: one for one in checklist.phases()}
    if phase not in known:
        raise Refused("there is no such phase", measured=phase, allowed=", ".join(known))
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.connect(side, "gate") as connection:
        entries = journal.entries(connection)
    in_effect = checklist.in_effect(entries)
    state = checklist.state_of(phase, in_effect)
    if required_state == "done" and state.state != "done":
        raise Refused(f"phase {phase} is not done", measured=str(state), allowed="done", next_step=known[phase].command)
    if required_state == "rolled back":
        _refuse_left(phase, state, entries)
    newest = {one.item: one.result for one in in_effect if one.phase == phase and one.result != "refused"}
    done = [item for item, result in newest.items() if result == "done"]
    begun = dict(state.last.evidence) if state.last is not None and state.state == "interrupted" else {}
    return Outcome(False, f"phase {phase}: {state}", {"state": state.state, "done": done, "begun": begun})


def refuse_past_return(laravel: database.Connection, playbook: str) -> None:
    """Raises Refused for every playbook except the last phase's own once data can no longer be rolled back."""
    entry = checklist.past_return(checklist.in_effect(journal.entries(laravel)))
    if entry is None or checklist.phase_of(playbook) == entry.phase:
        return
    state = checklist.state_of(entry.phase, journal.entries(laravel, entry.phase))
    (own,) = (one for one in checklist.phases() if one.phase == entry.phase)
    raise Refused(
        f"phase {entry.phase} {'is done' if state.state == 'done' else 'has started'}: rollback is no longer possible",
        measured=f"the sync and everything that it needs were removed from {times.when(entry.at)} on, by {entry.who}",
        next_step="ansible-playbook status.yml" if state.state == "done" else own.command,
    )


def _refuse_left(phase: str, state: checklist.PhaseState, entries: list[journal.JournalEntry]) -> None:
    """Raises Refused while the phase is not rolled back, or while its rollback is not finished."""
    (own,) = (one for one in checklist.rollbacks() if one.phase == f"rollback-{phase}")
    back = checklist.state_of(own.phase, entries)
    if state.state != "not started":
        raise Refused(
            f"phase {phase} must be rolled back first",
            measured=str(state),
            allowed="not started, or rolled back",
            next_step=own.command,
        )
    if back.state not in ("not started", "done"):
        raise Refused(
            f"the rollback of phase {phase} did not finish",
            measured=str(back),
            allowed="done",
            next_step=own.command,
        )
