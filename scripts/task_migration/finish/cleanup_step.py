"""What a run of phase 2.5 starts with: how much of the cleanup is done."""

from __future__ import annotations

from task_migration.control import checklist
from task_migration.control.phase_gate import phase_gate
from task_migration.outcome import Outcome

_PHASE = "2.5"
_DONE = {
    "is_past_return": checklist.NO_WAY_BACK,
    "is_synced": "last_writes",
    "is_cleaned": "cleanup",
    "is_committed": "laravel_code",
    "has_alarms": "monitoring",
}
"""By the name of the detail, the journal's item that says so."""


def cleanup_step(*, laravel_dsn: str, check: bool = False) -> Outcome:
    """Reads from the journal what an earlier run did, because what was removed cannot be asked any more; changes
    nothing.

    Details, each a bool: ``is_past_return``, the point of no return; ``is_synced``, the last writes; ``is_cleaned``;
    ``is_committed``, Laravel's code; ``has_alarms``; ``is_ended``.
    """
    phase = phase_gate(laravel_dsn=laravel_dsn, phase=_PHASE, required_state="any")
    found = {name: item in phase.details["done"] for name, item in _DONE.items()}
    return Outcome(False, phase.message, {**found, "is_ended": phase.details["state"] == "done"})
