"""Waits until the sync that was started runs, and has synced the entries on the change log.

The backward sync has nothing to sync before the Task Service takes its first write. To prove that it works, one of the
Task Service's tasks is put on its log to be checked again: that changes no row, and passes through the whole sync.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from task_migration import progress, sql_files
from task_migration.control import sync_switch
from task_migration.errors import Failed
from task_migration.mapping.table_mapping import mappings
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.runtime import health_endpoint
from task_migration.sync import capture, change_log
from task_migration.sync.batch import Direction

FEW_ENTRIES = 1000
"""How many entries may be pending: a tenth of a second of work, about what is written meanwhile."""
LATENCY_MS = 500.0
"""The plan's bound (5.1) for the age of the oldest pending write."""
QUIET_SECONDS = 1.0
"""How long all conditions must hold without a break, so that one good sample is not enough."""
LONGEST_SECONDS = 60.0
"""The longest time without progress. There is no limit while the log gets shorter."""
POLL_SECONDS = 0.2
_FILE = "runtime/catch_up.sql"


@dataclass(frozen=True)
class _Backlog:
    """One sample of the sync and its log."""

    state: str
    pending: int
    oldest_ms: float
    lag_ms: float | None
    error: str
    proven: bool

    @property
    def caught_up(self) -> bool:
        few = self.pending <= FEW_ENTRIES and self.oldest_ms <= LATENCY_MS
        return self.state == "running" and few and self.proven

    def __str__(self) -> str:
        lag = f", p95 {self.lag_ms:.0f} ms" if self.lag_ms is not None else ""
        unproven = "" if self.proven else ", including the task that was put there as a proof"
        return f"{self.state}, {self.pending:,} entries pending{unproven}, the oldest for {self.oldest_ms:.0f} ms{lag}"


def catch_up(
    *,
    laravel_dsn: str,
    sync_health_ports: Mapping[str, int],
    task_service_dsn: str = "",
    direction: Direction = "forward",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Waits until the sync runs, few entries are on its log, and none has been pending for longer than 500 ms.

    Backward, it also waits until the sync has synced a task of the Task Service that was put on the log as a proof.
    Raises Failed without progress for 60 s; backward Refused if the Task Service's writes are not all captured. In
    check mode it only reads the length of the log. Details: ``state``, ``pending``, ``oldest_ms``, ``lag_p95_ms`` of
    the last ten seconds (None: nothing was synced), ``seconds``, and ``proof``, that task's id (None forward, or
    without a task).
    """
    port = int(sync_health_ports[direction])
    side = database.laravel(laravel_dsn) if direction == "forward" else database.task_service(task_service_dsn)
    with database.translated_errors(side), database.connect(side, f"catch up {direction}") as connection:
        if check:
            waiting = change_log.length(connection)
            return Outcome(False, f"change log: would wait for the sync of {waiting:,} entries", {"pending": waiting})
        proof = _put_proof(connection) if direction == "backward" else None
        started = progressed = time.monotonic()
        caught_up_since: float | None = None
        most = fewest = change_log.length(connection)
        while True:
            backlog = _read_backlog(connection, port, proof)
            now = time.monotonic()
            if not backlog.caught_up:
                caught_up_since = None
            elif caught_up_since is None:
                caught_up_since = progressed = now
            elif now - caught_up_since >= QUIET_SECONDS:
                break
            if backlog.pending < fewest:
                fewest, progressed = backlog.pending, now
            most = max(most, backlog.pending)
            listener(
                progress.Progress(
                    "catching up", most - backlog.pending, most, "entries", now - started, f"sync {backlog.state}"
                )
            )
            if now - progressed > LONGEST_SECONDS:
                raise _too_slow(laravel_dsn, direction, backlog, port)
            time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - started
    proven = (
        f"; task {proof} was synced as a proof"
        if proof is not None
        else "; the Task Service has no task to prove it with"
    )
    return Outcome(
        False,
        f"sync {direction}: {backlog}; caught up in {seconds:.1f} s{proven if direction == 'backward' else ''}",
        {
            "state": backlog.state,
            "pending": backlog.pending,
            "oldest_ms": round(backlog.oldest_ms, 1),
            "lag_p95_ms": backlog.lag_ms,
            "seconds": round(seconds, 1),
            "proof": proof,
        },
    )


def _put_proof(task_service: database.Connection) -> int | None:
    """Puts one task of the Task Service on its log, without the time of a write, so that it loses against any write.

    Returns the task's id, None without a task.
    """
    capture.require(task_service)
    table, key = _tasks()
    names = {"key": sql.Identifier(key), "table": sql.Identifier("public", table)}
    row = task_service.execute(sql_files.statement(_FILE, "oldest task", **names)).fetchone()
    assert row is not None
    if row[0] is None:
        return None
    change_log.put(task_service, table, {row[0]: row[0]})
    return int(row[0])


def _tasks() -> tuple[str, str]:
    """Returns the Task Service's table of tasks and its key."""
    return next((mapping.table, mapping.key) for mapping in mappings() if mapping.parent is None)


def _read_backlog(connection: database.Connection, port: int, proof: int | None) -> _Backlog:
    health: Mapping[str, Any] = health_endpoint.ask(port) or {"state": "not reached", "last_error": ""}
    pending, oldest = change_log.backlog(connection)
    waits = False
    if proof is not None:
        parameters = {"source_table": _tasks()[0], "key": proof}
        row = connection.execute(sql_files.statement(_FILE, "proof is pending"), parameters).fetchone()
        waits = bool(row and row[0])
    return _Backlog(
        health["state"],
        pending,
        max(0.0, (oldest or 0.0) * 1000),
        health_endpoint.p95_ms(health),
        str(health["last_error"]),
        not waits,
    )


def _too_slow(laravel_dsn: str, direction: Direction, backlog: _Backlog, port: int) -> Failed:
    if backlog.state == "paused":
        with database.connect(database.laravel(laravel_dsn), "catch up") as laravel:
            position = sync_switch.position(laravel, "sync_forward" if direction == "forward" else "sync_backward")
        why = f"the switch is {position.word}" + (f", by {position.changed_by}" if position.changed_by else "")
    else:
        why = f"its last error: {backlog.error}" if backlog.error else "it reports no error"
    return Failed(
        f"the sync did not catch up within {LONGEST_SECONDS:g} s; nothing is lost, all entries are still on the log",
        measured=f"{backlog}; {why}",
        allowed=f"running, at most {FEW_ENTRIES:,} entries, none older than {LATENCY_MS:g} ms",
        next_step=f"curl http://{health_endpoint.HOST}:{port}/health shows more; then run the same command again",
    )
