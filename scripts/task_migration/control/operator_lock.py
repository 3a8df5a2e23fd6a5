"""Allows one operator at a time, for as long as their ansible-playbook process runs, however it ends.

Each step of a playbook is its own process, so no step can keep a database session for the next one. A small holder
process does that: it takes an advisory lock in Laravel's database and watches ansible-playbook. After kill -9 of a
playbook, a step that moves data may run a little longer. Such steps therefore share a second lock (``mutating``), and
the next operator waits until it is free. Both are session-level locks, so the connection must not go through a
transaction pooler.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import psycopg

from task_migration import progress, sql_files
from task_migration.control import phase_gate
from task_migration.errors import Failed, MigrationError, Refused
from task_migration.outcome import Outcome
from task_migration.postgres import database

OPERATOR, ENGINES = 1, 2
ENGINE_WAIT_SECONDS = 60.0
POLL_SECONDS = 0.3
WAIT_POLL_SECONDS = 2.0
KEEPALIVE_SECONDS = 10.0
_FILE = "control/operator_lock.sql"

Alive = Callable[[float], bool]


class LockHeld(Refused):
    """Another operator holds the lock."""


_KINDS: dict[str, type[MigrationError]] = {
    kind.__name__: kind for kind in (LockHeld, database.Unreachable, Refused, Failed)
}


def operator_lock(
    *,
    laravel_dsn: str,
    command: str,
    lock_wait_seconds: float = 0,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Takes the operator's lock, and holds it until the parent of the calling process (ansible-playbook) has ended.

    Check mode only checks it. Raises Refused, with the holder and the time, if another operator holds the lock for
    longer than ``lock_wait_seconds``; if Laravel's database cannot be reached for so long; if a step of an earlier run
    is still running after ``ENGINE_WAIT_SECONDS``; or if the migration has ended and ``command`` is not its last phase.
    """
    if check:
        side = database.laravel(laravel_dsn)
        with database.translated_errors(side), database.connect(side, f"look {command}") as connection:
            _refuse_if_held(connection)
            phase_gate.refuse_past_return(connection, command)
        return Outcome(False, "no other operator holds the lock")
    began = time.monotonic()
    while True:
        try:
            holder_pid = _held(laravel_dsn, command, began, listener)
        except (LockHeld, database.Unreachable) as hindrance:
            waited = time.monotonic() - began
            if waited >= lock_wait_seconds:
                raise
            listener(progress.Progress("waiting for the lock", 0, 0, "", waited, hindrance.measured))
            time.sleep(min(WAIT_POLL_SECONDS, lock_wait_seconds - waited))
        else:
            return Outcome(False, "the lock is held until this command ends", {"holder_pid": holder_pid})


def _held(laravel_dsn: str, command: str, began: float, listener: progress.Listener) -> int:
    """Starts the holder process; returns its pid once it holds the lock. Raises the error that it reports."""
    holder = subprocess.Popen(
        [sys.executable, "-m", "task_migration.control.operator_lock", str(os.getppid()), command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with suppress(BrokenPipeError), holder.stdin as stdin:
        stdin.write(laravel_dsn)
    while not select.select([holder.stdout], [], [], 1)[0]:
        waited = time.monotonic() - began
        listener(progress.Progress("waiting for the lock", 0, 0, "", waited))
    with holder.stdout as stdout:
        answer = stdout.readline()
    if not answer:
        raise Failed(
            "the process that should hold the lock stopped immediately",
            measured=f"exit code {holder.wait()}",
            next_step="run the same command again",
        )
    reported: dict[str, Any] = json.loads(answer)
    if "what" in reported:
        holder.wait()
        raise _KINDS.get(reported.pop("kind"), Failed)(**reported)
    return holder.pid


@contextmanager
def mutating(side: database.Side, doing: str) -> Iterator[None]:
    """Shares the second lock while data is moved, so that the next operator waits for the end of this step.

    ``side`` is Laravel's; ``doing`` is shown in pg_stat_activity. The lock has its own session, so it stays when a
    session that does the work is lost.
    """
    with database.translated_errors(side):
        connection = database.connect(side, f"engine {doing}")
    with connection:
        with database.translated_errors(side):
            connection.execute(sql_files.statement(_FILE, "share the engines'"))
        yield


def hold(
    dsn: str, command: str, alive: Alive, held: Callable[[], None], engine_wait_seconds: float = ENGINE_WAIT_SECONDS
) -> None:
    """Takes the operator's lock, calls ``held``, and keeps the lock while ``alive(seconds)``, which waits, is True."""
    side = database.laravel(dsn)
    with database.translated_errors(side), database.connect(side, f"lock {command}") as connection:
        if not _value(connection, "take the operator's"):
            _refuse_if_held(connection)
            raise LockHeld("another operator has just released the lock", next_step="run the same command again")
        deadline = time.monotonic() + engine_wait_seconds
        while _value(connection, "is any engine running"):
            if time.monotonic() > deadline:
                raise _still_at_work(connection, engine_wait_seconds)
            if not alive(POLL_SECONDS):
                return
        phase_gate.refuse_past_return(connection, command)
        held()
        while alive(KEEPALIVE_SECONDS):
            _value(connection, "keep alive")


def watching(pid: int) -> Alive:
    """Returns a function that waits some seconds, or until the process ends, and returns whether it still runs."""
    if sys.platform != "linux":
        return lambda seconds: _polled(pid, seconds)
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return lambda _: False
    return lambda seconds: not select.select([handle], [], [], seconds)[0]


def _polled(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        if time.monotonic() >= until:
            return True
        time.sleep(POLL_SECONDS)


def _refuse_if_held(connection: database.Connection) -> None:
    for name, since, address, pid in _holders(connection, OPERATOR):
        raise LockHeld(
            "another operator is running a command",
            measured=f"{name.removeprefix('task_migration lock ')}, {_since(since)}, from {address or 'this machine'}",
            allowed="one operator at a time",
            next_step=f"wait until that command ends; if its machine is lost: {_end(pid)}",
        )


def _still_at_work(connection: database.Connection, waited: float) -> Refused:
    found = _holders(connection, ENGINES)
    names = ", ".join(f"{name.removeprefix('task_migration ')}, {_since(since)}" for name, since, _, _ in found)
    return Refused(
        f"a step of an earlier run is still running after {waited:g} s of waiting",
        measured=names or "a session that has just ended",
        next_step=f"wait until it ends, or: {_end(*(pid for *_, pid in found))}"
        if found
        else "run the same command again",
    )


def _end(*pids: int) -> str:
    return f"SELECT {', '.join(f'pg_terminate_backend({pid})' for pid in pids)} on Laravel's database"


def _since(moment: datetime) -> str:
    age = max(0, round((datetime.now(UTC) - moment).total_seconds()))
    ago = f"{age} s" if age < 120 else f"{age // 60} min" if age < 7200 else f"{age // 3600} h"
    return f"since {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({ago} ago)"


def _holders(connection: database.Connection, which: int) -> list[tuple[str, datetime, str | None, int]]:
    return list(connection.execute(sql_files.statement(_FILE, "holders"), {"which": which}).fetchall())


def _value(connection: database.Connection, name: str) -> Any:
    row = connection.execute(sql_files.statement(_FILE, name)).fetchone()
    return row[0] if row else None


def main(pid: str, command: str) -> None:
    """Runs the holder process: it reads the connection string from stdin and prints one line of JSON."""

    def answer(reported: dict[str, Any]) -> None:
        print(json.dumps(reported), flush=True)

    try:
        hold(sys.stdin.read(), command, watching(int(pid)), lambda: answer({}))
    except MigrationError as error:
        fields = {name: getattr(error, name) for name in ("what", "measured", "allowed", "next_step")}
        with suppress(BrokenPipeError):
            answer({"kind": type(error).__name__, **fields})
    except psycopg.Error:
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
