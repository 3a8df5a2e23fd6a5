"""Changes to Laravel's tables that keep no one waiting: a short lock_timeout, tried again.

CREATE TRIGGER waits behind every long transaction on its table, and all writers then wait behind it. With a short
limit on its own waiting it gives up its place in the queue, lets the others pass, and asks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from psycopg import errors as pg

from task_migration.errors import Failed
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

    ``connection`` is in autocommit. Raises Failed, with who is in the way, when the lock was never free; then nothing
    of ``act`` remains.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connection.transaction():
                connection.execute(
                    "SELECT pg_catalog.set_config('lock_timeout', %s, true)", (f"{int(lock_timeout_seconds * 1000)}ms",)
                )
                act(connection)
            return
        except pg.LockNotAvailable as error:
            if attempt == ATTEMPTS:
                raise Failed(
                    f"{what}: the lock on {side.title} was not free in {ATTEMPTS} tries; this step was rolled back",
                    measured=f"each try waited {lock_timeout_seconds:g} s behind a longer transaction",
                    allowed=f"a moment of {lock_timeout_seconds:g} s without a long transaction on the task tables",
                    next_step="look for the long transaction in pg_stat_activity, then run the same command again",
                ) from error
            time.sleep(PAUSE_SECONDS)
