"""The end of a run of phase 2.5 that failed: what the operator is shown."""

from __future__ import annotations

from task_migration.errors import MigrationError
from task_migration.finish.cleanup_step import cleanup_step
from task_migration.outcome import Outcome

_AGAIN = "ansible-playbook phase-2.5-cleanup.yml -e approve=yes continues where it stopped"


def cleanup_stop(*, laravel_dsn: str, cause: str, journal_error: str = "", check: bool = False) -> Outcome:
    """Describes the failure, by what the journal holds; changes nothing.

    ``journal_error`` is why the failure could not be recorded, "" if it was. Details: ``message``, the whole in one
    line. If Laravel's database cannot be read, the message says so and no more.
    """
    try:
        is_past_return = bool(cleanup_step(laravel_dsn=laravel_dsn).details["is_past_return"])
    except MigrationError:
        state = "ansible-playbook status.yml shows whether a rollback is possible"
    else:
        state = (
            "it is past the point of no return, and the Task Service serves every user"
            if is_past_return
            else "nothing was removed, and every rollback is still possible"
        )
    error = f"; the journal could not be written: {journal_error}" if journal_error else ""
    message = f"Phase 2.5 stopped: {cause}{error}; then: {_AGAIN}; {state}"
    return Outcome(False, "phase 2.5 stopped", {"message": message})
