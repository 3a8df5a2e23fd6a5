"""Waits until the sync that was started runs, and has carried what was waiting on the change log.

The way back has nothing to carry before the Task Service takes its first write. So that it is proven before, one of its
tasks is put on its log, to be looked at again: that changes no row, and goes the whole way.
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
"""So many may be on their way: a tenth of a second's work, and no more than what is written meanwhile."""
LATENCY_MS = 500.0
"""The plan's bound (5.1): older than this may no write be that still waits."""
QUIET_SECONDS = 1.0
"""For so long in a row all of it must hold: one look may hit a lucky moment."""
LONGEST_SECONDS = 60.0
"""Without any progress. A log that gets shorter may take as long as it takes."""
POLL_SECONDS = 0.2
_FILE = "runtime/catch_up.sql"


@dataclass(frozen=True)
class _Backlog:
    """One look at the sync and at its log."""

    state: str
    pending: int
    oldest_ms: float
    lag_ms: float | None
    error: str
    proven: bool

    @property
    def well(self) -> bool:
        few = self.pending <= FEW_ENTRIES and self.oldest_ms <= LATENCY_MS
        return self.state == "running" and few and self.proven

    def __str__(self) -> str:
        lag = f", p95 {self.lag_ms:.0f} ms" if self.lag_ms is not None else ""
        unproven = "" if self.proven else ", the task that was put there as a proof among them"
        return f"{self.state}, {self.pending:,} entries wait{unproven}, the oldest for {self.oldest_ms:.0f} ms{lag}"


def catch_up(
    *,
    laravel_dsn: str,
    sync_health_ports: Mapping[str, int],
    task_service_dsn: str = "",
    direction: Direction = "forward",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Waits until the sync says that it runs, few entries are on its log and none has waited for longer than 500 ms.

    Backward, until it has carried one of the Task Service's tasks as well, which was put on the log as a proof.
    Raises Failed if nothing got better for 60 s; backward Refused, if the Task Service's writes are not all captured.
    In check mode it only looks at how much there is to catch up with. Details: ``state``, ``pending``, ``oldest_ms``,
    ``lag_p95_ms`` of the last ten seconds (None: nothing was carried), ``seconds``, and ``proof``, that task's id (None
    forward, or if there is no task).
    """
    port = int(sync_health_ports[direction])
    side = database.laravel(laravel_dsn) if direction == "forward" else database.task_service(task_service_dsn)
    with database.translated_errors(side), database.connect(side, f"catch up {direction}") as connection:
        if check:
            waiting = change_log.length(connection)
            return Outcome(False, f"change log: {waiting:,} entries would be caught up with", {"pending": waiting})
        proof = _put_proof(connection) if direction == "backward" else None
        began = progressed = time.monotonic()
        well_since: float | None = None
        most = fewest = change_log.length(connection)
        while True:
            stand = _look(connection, port, proof)
            now = time.monotonic()
            if not stand.well:
                well_since = None
            elif well_since is None:
                well_since = progressed = now
            elif now - well_since >= QUIET_SECONDS:
                break
            if stand.pending < fewest:
                fewest, progressed = stand.pending, now
            most = max(most, stand.pending)
            listener(
                progress.Progress(
                    "catching up", most - stand.pending, most, "entries", now - began, f"sync {stand.state}"
                )
            )
            if now - progressed > LONGEST_SECONDS:
                raise _too_slow(laravel_dsn, direction, stand, port)
            time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - began
    proven = (
        f"; task {proof} went the whole way" if proof is not None else "; the Task Service has no task to prove it with"
    )
    return Outcome(
        False,
        f"sync {direction}: {stand}; caught up in {seconds:.1f} s{proven if direction == 'backward' else ''}",
        {
            "state": stand.state,
            "pending": stand.pending,
            "oldest_ms": round(stand.oldest_ms, 1),
            "lag_p95_ms": stand.lag_ms,
            "seconds": round(seconds, 1),
            "proof": proof,
        },
    )


def _put_proof(task_service: database.Connection) -> int | None:
    """Puts one task of the Task Service's on its log without a claim, so that it gives way to any write; its id."""
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
    """The Task Service's table of tasks and its key."""
    return next((mapping.table, mapping.key) for mapping in mappings() if mapping.parent is None)


def _look(connection: database.Connection, port: int, proof: int | None) -> _Backlog:
    said: Mapping[str, Any] = health_endpoint.ask(port) or {"state": "not reached", "last_error": ""}
    pending, oldest = change_log.backlog(connection)
    waits = False
    if proof is not None:
        asked = {"part": _tasks()[0], "key": proof}
        row = connection.execute(sql_files.statement(_FILE, "still there"), asked).fetchone()
        waits = bool(row and row[0])
    return _Backlog(
        said["state"],
        pending,
        max(0.0, (oldest or 0.0) * 1000),
        health_endpoint.p95_ms(said),
        str(said["last_error"]),
        not waits,
    )


def _too_slow(laravel_dsn: str, direction: Direction, stand: _Backlog, port: int) -> Failed:
    if stand.state == "paused":
        with database.connect(database.laravel(laravel_dsn), "catch up") as laravel:
            position = sync_switch.position(laravel, "sync_forward" if direction == "forward" else "sync_backward")
        why = f"the switch is {position.word}" + (f", by {position.changed_by}" if position.changed_by else "")
    else:
        why = f"its last error: {stand.error}" if stand.error else "it tells of no error"
    return Failed(
        f"the sync did not get well within {LONGEST_SECONDS:g} s; nothing is lost, what it did not carry is on the log",
        measured=f"{stand}; {why}",
        allowed=f"running, at most {FEW_ENTRIES:,} entries, none older than {LATENCY_MS:g} ms",
        next_step=f"curl http://{health_endpoint.HOST}:{port}/health says more; then run the same command again",
    )
