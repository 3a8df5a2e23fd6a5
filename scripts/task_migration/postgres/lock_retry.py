"""Changes to Laravel's tables that make no session wait for long: a short lock_timeout, and a few attempts.

CREATE TRIGGER waits behind every long transaction on its table, and all writers then wait behind it. With a short
lock_timeout it leaves the queue, lets the others pass, and tries again.
"""

from __future__ import annotations

from collections.abc import Callable

from psycopg import errors as pg

from task_migration.errors import Failed
from task_migration.external.retry import Backoff, retried
from task_migration.postgres import database

ATTEMPTS = 10
PAUSE_SECONDS = 1.0


def with_lock_retry(
    side: database.Side,
    connection: database.Connection,
    lock_timeout_seconds: float,
    what: str,
    act: Callable[[database.Connection], None],
) -> None:
    """Runs ``act`` in one transaction that waits at most ``lock_timeout_seconds`` for each lock, up to ten times.

    ``connection`` is in autocommit. Raises Failed if the lock was not free in any of the attempts; then nothing that
    ``act`` did remains.
    """

    def attempt() -> None:
        with connection.transaction():
            connection.execute(
                "SELECT pg_catalog.set_config('lock_timeout', %s, true)", (f"{int(lock_timeout_seconds * 1000)}ms",)
            )
            act(connection)

    try:
        retried(attempt, backoff=Backoff(PAUSE_SECONDS, PAUSE_SECONDS), on=pg.LockNotAvailable, attempts=ATTEMPTS)
    except pg.LockNotAvailable as error:
        raise Failed(
            f"{what}: the lock on {side.title} was not free in {ATTEMPTS} attempts; this step was rolled back",
            measured=f"each attempt waited {lock_timeout_seconds:g} s behind a longer transaction",
            allowed=f"{lock_timeout_seconds:g} s without a long transaction on the task tables",
            next_step="wait until the long transaction ends (SELECT pid, xact_start, query FROM pg_stat_activity "
            "ORDER BY xact_start), then run the same command again",
        ) from error
