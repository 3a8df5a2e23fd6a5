"""A running sync within a test: the real worker, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sides import Sides
from task_migration.control.sync_switch import sync_switch
from task_migration.errors import MigrationError
from task_migration.sync.sync_worker import SyncSettings, SyncWorker


@contextmanager
def carrying(sides: Sides) -> Iterator[None]:
    """Changes flow to the Task Service while the block runs, and for as long after as it takes to end a batch."""
    sync_switch(laravel_dsn=sides.laravel_dsn, name="sync_forward", state="on")
    stop = threading.Event()

    def carry() -> None:
        worker = SyncWorker(SyncSettings.from_dict(sides.both), "forward")
        while not stop.is_set():
            try:
                worker.connect()
                while not stop.is_set():
                    if not worker.step().entries:
                        stop.wait(0.002)
            except MigrationError:
                stop.wait(0.05)
            finally:
                worker.close()

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
