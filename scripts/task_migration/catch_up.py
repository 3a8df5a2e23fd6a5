"""Waits until the sync that was started runs, and has carried what was waiting on the change log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from task_migration import change_log, database, health, progress, switch
from task_migration.errors import Failed
from task_migration.outcome import Outcome

FEW_ENTRIES = 1000
"""So many may be on their way: a tenth of a second's work, and no more than what is written meanwhile."""
LATENCY_MS = 500.0
"""The plan's bound (5.1): older than this may no write be that still waits."""
QUIET_SECONDS = 1.0
"""For so long in a row all of it must hold: one look may hit a lucky moment."""
LONGEST_SECONDS = 60.0
"""Without any progress. A log that gets shorter may take as long as it takes."""
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class _Stand:
    """One look at the sync and at its log."""

    state: str
    pending: int
    oldest_ms: float
    lag_ms: float | None
    error: str

    @property
    def well(self) -> bool:
        return self.state == "running" and self.pending <= FEW_ENTRIES and self.oldest_ms <= LATENCY_MS

    def __str__(self) -> str:
        lag = f", p95 {self.lag_ms:.0f} ms" if self.lag_ms is not None else ""
        return f"{self.state}, {self.pending:,} entries wait, the oldest for {self.oldest_ms:.0f} ms{lag}"


def catch_up(
    *,
    laravel_dsn: str,
    sync_health_ports: Mapping[str, int],
    direction: Literal["forward"] = "forward",
    check: bool = False,
    listener: progress.Listener = progress.nobody,
) -> Outcome:
    """Waits until the sync says that it runs, few entries are on its log and none has waited for longer than 500 ms.

    Raises Failed if nothing got better for 60 s. In check mode it only looks at how much there is to catch up with.
    Details: ``state``, ``pending``, ``oldest_ms``, ``lag_p95_ms`` of the last ten seconds (None: nothing was carried),
    and ``seconds``.
    """
    port = int(sync_health_ports[direction])
    side = database.laravel(laravel_dsn)
    with database.said(side), database.connect(side, "catch up") as connection:
        if check:
            waiting = change_log.length(connection)
            return Outcome(False, f"change log: {waiting:,} entries would be caught up with", {"pending": waiting})
        began = progressed = time.monotonic()
        well_since: float | None = None
        most = fewest = change_log.length(connection)
        while True:
            stand = _look(connection, port)
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
                raise _too_slow(connection, stand, port)
            time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - began
    return Outcome(
        False,
        f"sync {direction}: {stand}; caught up in {seconds:.1f} s",
        {
            "state": stand.state,
            "pending": stand.pending,
            "oldest_ms": round(stand.oldest_ms, 1),
            "lag_p95_ms": stand.lag_ms,
            "seconds": round(seconds, 1),
        },
    )


def _look(laravel: database.Connection, port: int) -> _Stand:
    said: Mapping[str, Any] = health.ask(port) or {"state": "not reached", "last_error": ""}
    pending, oldest = change_log.stand(laravel)
    lag = said.get("lag_ms_10_s") or {}
    return _Stand(said["state"], pending, max(0.0, (oldest or 0.0) * 1000), lag.get("p95"), str(said["last_error"]))


def _too_slow(laravel: database.Connection, stand: _Stand, port: int) -> Failed:
    if stand.state == "paused":
        position = switch.position(laravel, "sync_forward")
        why = f"the switch is {position.word}" + (f", by {position.changed_by}" if position.changed_by else "")
    else:
        why = f"its last error: {stand.error}" if stand.error else "it tells of no error"
    return Failed(
        f"the sync did not get well within {LONGEST_SECONDS:g} s; nothing is lost, what it did not carry is on the log",
        measured=f"{stand}; {why}",
        allowed=f"running, at most {FEW_ENTRIES:,} entries, none older than {LATENCY_MS:g} ms",
        next_step=f"curl http://{health.HOST}:{port}/health says more; then run the same command again",
    )
