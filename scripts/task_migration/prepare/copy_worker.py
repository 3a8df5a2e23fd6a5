"""The workers of the copy: each claims a chunk, copies it and commits, until no planned chunk is left.

Workers are processes, because threads of one process would compete for Python's global lock at each row. They share
only the ledger in the database.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from task_migration import sql_files
from task_migration.errors import Failed
from task_migration.postgres import database
from task_migration.prepare import copy_ledger
from task_migration.prepare.copy_ledger import Chunk
from task_migration.sync import change_log
from task_migration.sync.converge import Flow, converge
from task_migration.sync.table_shape import Shape

BUSY_PAUSE_SECONDS = 0.5
CLAIM_PAUSE_SECONDS = 0.02
WATCH_SECONDS = 0.2
STOP_SECONDS = 10.0
FEWEST_KEYS = 500
"""The smallest chunk after a split; with fewer keys the transaction would cost more than its rows."""


@dataclass(frozen=True)
class CopyTask:
    """The task of every worker: both sides, the shapes of the tables, and the limits.

    ``chunk_seconds``: a chunk that would take longer is split. ``laravel_load``: how many other sessions may be active
    on Laravel's database when a chunk starts (0: any number).
    """

    laravel: database.Side
    task_service: database.Side
    shapes: tuple[Shape, ...]
    chunk_seconds: float
    laravel_load: int


def run(task: CopyTask, workers: int) -> Iterator[None]:
    """Runs this many workers until they end, and yields to the caller a few times a second.

    After the first failure the other workers finish their chunk; then the failure is raised. Raises Failed if a worker
    is killed.
    """
    linux = sys.platform == "linux"
    context = multiprocessing.get_context("fork") if linux else multiprocessing.get_context("spawn")
    stop = context.Event()
    running = []
    try:
        for _ in range(workers):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(task, stop, os.getpid(), sender), daemon=True)
            process.start()
            sender.close()
            running.append((process, receiver))
        while any(process.is_alive() for process, _ in running):
            multiprocessing.connection.wait([process.sentinel for process, _ in running], WATCH_SECONDS)
            if any(process.exitcode for process, _ in running):
                stop.set()
            yield
    finally:
        for process, _ in running:
            process.terminate()
        for process, _ in running:
            process.join(STOP_SECONDS)
            process.kill()
            process.join()
    for process, receiver in running:
        _raise_failure(process.exitcode, receiver)


def _raise_failure(exitcode: int | None, receiver: multiprocessing.connection.Connection) -> None:
    if not exitcode:
        return
    with contextlib.suppress(EOFError):
        raise receiver.recv()
    raise Failed(
        "a worker of the copy was killed; its uncommitted changes were rolled back",
        measured=f"exit code {exitcode}",
        next_step="run the same command again: it continues where it stopped",
    )


def _work(task: CopyTask, stop: Event, parent: int, sender: multiprocessing.connection.Connection) -> None:
    """Runs one worker. If its parent process has ended, it stops after its chunk."""
    try:
        with (
            database.translated_errors(task.task_service),
            database.connect(task.laravel, "copy worker") as origin,
            database.connect(task.task_service, "copy worker") as destination,
        ):
            flow = Flow(origin, destination, task.shapes)
            speeds: dict[str, float] = {}
            while not stop.is_set() and os.getppid() == parent and copy_ledger.is_any_planned(destination):
                if too_busy(origin, task.laravel_load):
                    time.sleep(BUSY_PAUSE_SECONDS)
                elif not _copy_next(task, flow, speeds):
                    time.sleep(CLAIM_PAUSE_SECONDS)
    except BaseException as error:
        sender.send(error)
        sys.exit(1)


def too_busy(laravel: database.Connection, allowed: int) -> int:
    """Returns how many other sessions are active on Laravel's database if that is more than ``allowed``; else 0."""
    if allowed <= 0:
        return 0
    row = laravel.execute(sql_files.statement("prepare/copy_worker.sql", "other active sessions"), {}).fetchone()
    active = int(row[0]) if row else 0
    return active if active > allowed else 0


def _copy_next(task: CopyTask, flow: Flow, speeds: dict[str, float]) -> bool:
    """Claims and copies one chunk in one transaction on the Task Service's side; False if none is left to claim."""
    began = time.monotonic()
    with flow.destination.transaction():
        chunk = copy_ledger.claim(flow.destination, [shape.mapping.table for shape in task.shapes])
        if chunk is None:
            return False
        chunk = _cut_to_time(task, flow, chunk, speeds.get(chunk.table, 0.0))
        shape = next(shape for shape in task.shapes if shape.mapping.table == chunk.table)
        done = converge(flow, shape, chunk.range, bulk=True)
        if done.waiting:
            mapping = shape.mapping
            roots = change_log.task_ids_of(
                flow.origin, mapping.base_table, mapping.base_column, mapping.root_column, done.waiting
            )
            change_log.put(flow.origin, mapping.base_table, roots)
        seconds = max(time.monotonic() - began, 0.001)
        copy_ledger.mark_copied(flow.destination, chunk, done.mapped, seconds)
    speeds[chunk.table] = chunk.rows / seconds
    return True


def _cut_to_time(task: CopyTask, flow: Flow, chunk: Chunk, rows_per_second: float) -> Chunk:
    keys = chunk.range.high - chunk.range.low + 1
    allowed_rows = task.chunk_seconds * rows_per_second
    if not rows_per_second or chunk.rows <= allowed_rows or keys <= FEWEST_KEYS:
        return chunk
    within = int(keys * allowed_rows / chunk.rows)
    return copy_ledger.cut(flow.destination, chunk, min(keys - 1, max(FEWEST_KEYS, within)))
