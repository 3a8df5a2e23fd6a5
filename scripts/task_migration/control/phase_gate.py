"""The gate between phases: another phase stands as this one needs it, as far as the journal knows."""

from __future__ import annotations

from typing import Literal

from task_migration import times
from task_migration.control import checklist, journal
from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.postgres import database


def phase_gate(
    *, laravel_dsn: str, phase: str, standing: Literal["done", "taken back", "any"], check: bool = False
) -> Outcome:
    """Refuses unless ``phase`` is done; or unless nothing of it is left to be taken back; looks only.

    ``taken back`` also holds for a phase that never began; a rollback that did not come to its end took nothing back.
    Details: ``state``; ``done``, the items that were done and not taken back, in the order in which they were; and
    ``begun``, what a run that was cut off had written down with its start, {} if none was. Raises Refused with what to
    type first, or if there is no such phase.
    """
    known = {one.phase: one for one in checklist.phases()}
    if phase not in known:
        raise Refused("there is no such phase", measured=phase, allowed=", ".join(known))
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.connect(side, "gate") as connection:
        entries = journal.entries(connection)
    standing_entries = checklist.standing(entries)
    state = checklist.state_of(phase, standing_entries)
    if standing == "done" and state.state != "done":
        raise Refused(f"phase {phase} is not done", measured=str(state), allowed="done", next_step=known[phase].command)
    if standing == "taken back":
        _refuse_left(phase, state, entries)
    newest = {one.item: one.result for one in standing_entries if one.phase == phase and one.result != "refused"}
    done = [item for item, result in newest.items() if result == "done"]
    begun = dict(state.last.evidence) if state.last is not None and state.state == "interrupted" else {}
    return Outcome(False, f"phase {phase}: {state}", {"state": state.state, "done": done, "begun": begun})


def refuse_past_return(laravel: database.Connection, playbook: str) -> None:
    """Raises Refused for every playbook but the last phase's own once there is no way back by data."""
    entry = checklist.past_return(checklist.standing(journal.entries(laravel)))
    if entry is None or checklist.phase_of(playbook) == entry.phase:
        return
    state = checklist.state_of(entry.phase, journal.entries(laravel, entry.phase))
    (own,) = (one for one in checklist.phases() if one.phase == entry.phase)
    raise Refused(
        f"phase {entry.phase} {'is done' if state.state == 'done' else 'has begun'}: there is no way back by data",
        measured=f"the sync and all that it needs went from {times.when(entry.at)} on, by {entry.who}",
        next_step="ansible-playbook status.yml" if state.state == "done" else own.command,
    )


def _refuse_left(phase: str, state: checklist.PhaseState, entries: list[journal.JournalEntry]) -> None:
    """Raises Refused while the phase stands, or while its own rollback stopped on its way."""
    (own,) = (one for one in checklist.rollbacks() if one.phase == f"rollback-{phase}")
    back = checklist.state_of(own.phase, entries)
    if state.state != "not started":
        raise Refused(
            f"phase {phase} has to be taken back first",
            measured=str(state),
            allowed="not started, or taken back",
            next_step=own.command,
        )
    if back.state not in ("not started", "done"):
        raise Refused(
            f"the rollback of phase {phase} did not come to its end",
            measured=str(back),
            allowed="done",
            next_step=own.command,
        )
