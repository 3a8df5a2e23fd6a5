"""Quiesce: waits until the application of one side writes no more tasks, in running requests or in the background.

This is exact for the side's captured tables, not a sample of the change log: while it waits, a trigger on the log
counts what the application adds. Writes to cognito_user_mapping do not count: it holds users, not tasks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from psycopg import sql

from task_migration import progress, sql_files
from task_migration.errors import Failed
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.postgres.lock_retry import with_lock_retry
from task_migration.sync import capture, change_log

LOCK_TIMEOUT_SECONDS = 2.0
LONGEST_SECONDS = 60.0
"""The longest wait, plus five times the seconds without a write."""
POLL_SECONDS = 0.2
_FILE = "sync/quiesce.sql"
_TITLES = {"laravel": "Laravel's application", "task_service": "the Task Service"}
_NEXT_STEPS = {
    "laravel": "stop what writes tasks without the gateway (Laravel's scheduler, its queue workers), then run the same "
    "command again",
    "task_service": "stop what calls the Task Service without the gateway or writes in its background, then run the "
    "same command again",
}


def quiesce(
    *,
    laravel_dsn: str,
    task_service_dsn: str = "",
    side: Literal["laravel", "task_service"] = "laravel",
    canary_quiet_seconds: float,
    check: bool,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Waits until one side's application has written no task for ``canary_quiet_seconds``.

    In check mode it reads the log once. Details: ``seconds`` waited, and ``entries`` that were written meanwhile (in
    check mode: entries that are not synced yet). Raises Failed after 5 x ``canary_quiet_seconds`` + 60 s, with the
    tables and how often each was written; Refused if not every write to Laravel's tables is captured.
    """
    where = database.laravel(laravel_dsn) if side == "laravel" else database.task_service(task_service_dsn)
    with database.translated_errors(where), database.connect(where, "quiet") as connection:
        # The Task Service's capture may be incomplete if phase 2.4 stopped before it moved any traffic.
        if side == "laravel":
            capture.require(connection)
        elif not change_log.exists(connection):
            return Outcome(False, f"{_TITLES[side]}: took no traffic yet", {"seconds": 0.0, "entries": 0})
        if check:
            waiting = _waiting(connection)
            message = f"{_TITLES[side]}: {waiting:,} writes on the log; would wait for {canary_quiet_seconds:g} s"
            return Outcome(False, f"{message} without another", {"seconds": 0.0, "entries": waiting})
        with _counting(where, connection):
            seconds, entries = _wait(connection, canary_quiet_seconds, listener)
    return Outcome(
        False,
        f"{_TITLES[side]}: no task was written for {canary_quiet_seconds:g} s; {entries:,} rows in {seconds:.1f} s",
        {"seconds": round(seconds, 1), "entries": entries},
    )


def _wait(connection: database.Connection, quiet_seconds: float, listener: progress.Listener) -> tuple[float, int]:
    """Waits; returns the seconds until there was no more write, and the rows that were written meanwhile."""
    longest = 5 * quiet_seconds + LONGEST_SECONDS
    first = last = _counted(connection)
    started = written = time.monotonic()
    written_last: list[str] = []
    while True:
        time.sleep(min(POLL_SECONDS, quiet_seconds))
        counted, now = _counted(connection), time.monotonic()
        if counted != last:
            written_last = [table for table in counted if counted[table] != last[table]]
            last, written = counted, now
        elif now - written >= quiet_seconds:
            return now - started, sum(last.values()) - sum(first.values())
        since = {table: last[table] - first[table] for table in last if last[table] != first[table]}
        if now - started > longest:
            raise Failed(
                f"{_TITLES[connection.side.name]} did not stop writing tasks; nothing was changed",
                measured=f"within {now - started:.0f} s {_summary(since)}; the last in {', '.join(written_last)}",
                allowed=f"{quiet_seconds:g} s without a write",
                next_step=_NEXT_STEPS[connection.side.name],
            )
        note = f"written meanwhile: {_summary(since)}" if since else ""
        listener(progress.Progress("quiet for", int(now - written), int(quiet_seconds), "seconds", now - started, note))


@contextmanager
def _counting(side: database.Side, connection: database.Connection) -> Iterator[None]:
    """Counts what the application writes while the block runs. If the run is killed, the counters remain active."""
    counters = [sql.Identifier("task_migration", f"written_{table}") for table in capture.task_tables(side.name)]

    def start(session: database.Connection) -> None:
        for counter in counters:
            session.execute(sql_files.statement(_FILE, "create counter", counter=counter))
        session.execute(sql_files.statement(_FILE, "function"))
        session.execute(sql_files.statement(_FILE, "trigger"))

    def stop(session: database.Connection) -> None:
        session.execute(sql_files.statement(_FILE, "drop trigger"))
        for counter in counters:
            session.execute(sql_files.statement(_FILE, "drop counter", counter=counter))

    with_lock_retry(side, connection, LOCK_TIMEOUT_SECONDS, "counting writes on the change log", start)
    try:
        yield
    finally:
        with_lock_retry(side, connection, LOCK_TIMEOUT_SECONDS, "removing the counters of the change log", stop)


def _counted(connection: database.Connection) -> dict[str, int]:
    """Returns how many rows of each table the application has written since counting started."""
    parameters = {"tables": capture.task_tables(connection.side.name)}
    return dict(connection.execute(sql_files.statement(_FILE, "counted"), parameters).fetchall())


def _waiting(connection: database.Connection) -> int:
    parameters = {"tables": capture.task_tables(connection.side.name)}
    row = connection.execute(sql_files.statement(_FILE, "waiting"), parameters).fetchone()
    assert row is not None
    return int(row[0])


def _summary(written: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} in {table}" for table, number in written.items())
