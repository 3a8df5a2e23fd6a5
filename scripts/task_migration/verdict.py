"""The gate before anything leans on both sides being equal: the last verdict is green, fresh, and of these tables."""

from __future__ import annotations

from task_migration import catalog, database, journal
from task_migration.errors import Refused
from task_migration.outcome import Outcome


def verdict(*, laravel_dsn: str, task_service_dsn: str, verdict_max_age_hours: float, check: bool = False) -> Outcome:
    """Refuses unless the last verdict of phase 2.2 may be leaned on now; looks only, in check mode too.

    Details: ``at``, ``age_seconds``. Raises Refused with why it may not.
    """
    laravel, task_service = database.laravel(laravel_dsn), database.task_service(task_service_dsn)
    with (
        database.said(laravel),
        database.connect(laravel, "gate") as here,
        database.said(task_service),
        database.connect(task_service, "gate") as there,
    ):
        catalog.require_known_columns(here)
        now = journal.now(here)
        last = journal.latest_verdict(here)
        fingerprint = catalog.schema_fingerprint(here, there)
    stale = journal.stale_because(last, now, verdict_max_age_hours, fingerprint)
    if stale or last is None:
        raise Refused(
            "the two sides are not proven equal as they are now",
            measured=stale or "",
            allowed=f"a green verdict of these tables, at most {verdict_max_age_hours:g} h old",
            next_step="ansible-playbook phase-2.2-verify.yml",
        )
    age = now - last.at
    return Outcome(
        False,
        f"verdict: green, {journal.duration(age)} old",
        {"at": last.at.isoformat(), "age_seconds": round(age.total_seconds())},
    )
