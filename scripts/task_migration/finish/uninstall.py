"""Removes everything that the runbook created from Laravel's database: the rollback of phase 2.1."""

from __future__ import annotations

from task_migration import sql_files
from task_migration.control import journal
from task_migration.errors import Failed
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.postgres.lock_retry import with_lock_retry
from task_migration.prepare import user_mapping
from task_migration.sync import capture, fence

_FILE = "finish/uninstall.sql"


def uninstall(
    *, laravel_dsn: str, report_directory: str, lock_timeout_seconds: float = 2, check: bool = False
) -> Outcome:
    """Removes the fence, capture, the mapping table and the schema task_migration from Laravel's database.

    The journal is written to ``report_directory`` first. It may be run from any half-done state, and again. Details:
    ``journal``, the file. Raises Failed if the catalogs still hold an object of the runbook at the end.
    """
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.connect(side, "withdraw") as connection:
        left = _left(connection)
        if check or not left:
            message = (
                f"would remove {len(left)} objects of the runbook" if left else "no object of the runbook is there"
            )
            return Outcome(bool(left), f"Laravel's database: {message}", lines=tuple(left))
        exported = journal.export(connection, report_directory)
    fence.fence(laravel_dsn=laravel_dsn, state="absent", lock_timeout_seconds=lock_timeout_seconds, check=False)
    capture.capture(laravel_dsn=laravel_dsn, state="absent", lock_timeout_seconds=lock_timeout_seconds, check=False)
    user_mapping.user_mapping(
        laravel_dsn=laravel_dsn, state="absent", lock_timeout_seconds=lock_timeout_seconds, check=False
    )
    with database.translated_errors(side), database.connect(side, "withdraw") as connection:
        with_lock_retry(side, connection, lock_timeout_seconds, "dropping the schema task_migration", _drop)
        remaining = _left(connection)
    if remaining:
        raise Failed(
            "objects of the runbook are left in Laravel's database",
            measured=", ".join(remaining),
            allowed="none",
            next_step="run the same command again",
        )
    stored = f"; the journal is stored in {exported}" if exported else ""
    return Outcome(
        True,
        f"Laravel's database: removed {len(left)} objects of the runbook{stored}",
        {"removed": left, "journal": str(exported) if exported else None},
        tuple(left),
    )


def _left(connection: database.Connection) -> list[str]:
    return [name for (name,) in connection.execute(sql_files.statement(_FILE, "objects of the runbook"))]


def _drop(connection: database.Connection) -> None:
    connection.execute(sql_files.statement(_FILE, "drop schema"))
