"""The gate before any step that needs equal sides: the last verdict is green, fresh, and of the present tables."""

from __future__ import annotations

from task_migration import times
from task_migration.control import journal
from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.postgres import database, schema_drift


def verify_gate(
    *, laravel_dsn: str, task_service_dsn: str, verdict_max_age_hours: float, check: bool = False
) -> Outcome:
    """Checks that the last verdict of phase 2.2 can be used now. Changes nothing.

    Details: ``at``, ``age_seconds``. Raises Refused with the reason if it cannot be used.
    """
    laravel, task_service = database.laravel(laravel_dsn), database.task_service(task_service_dsn)
    with (
        database.translated_errors(laravel),
        database.connect(laravel, "gate") as here,
        database.translated_errors(task_service),
        database.connect(task_service, "gate") as there,
    ):
        schema_drift.require_known_columns(here)
        now = journal.now(here)
        last = journal.latest_verdict(here)
        fingerprint = schema_drift.schema_fingerprint(here, there)
    stale = journal.stale_because(last, now, verdict_max_age_hours, fingerprint)
    if stale or last is None:
        raise Refused(
            "there is no valid proof that both sides are equal",
            measured=stale or "",
            allowed=f"a green verdict of the present tables, at most {verdict_max_age_hours:g} h old",
            next_step="ansible-playbook phase-2.2-verify.yml",
        )
    age = now - last.at
    return Outcome(
        False,
        f"verdict: green, {times.duration(age)} old",
        {"at": last.at.isoformat(), "age_seconds": round(age.total_seconds())},
    )
