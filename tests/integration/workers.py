"""A worker of each direction over two standing databases, stepped by the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.locations import TASK_SERVICE_OWNER
from lab.servers import laravel_tables as lab_laravel
from lab.servers.postgres_server import PostgresServer
from sides import Sides
from task_migration.control import sync_switch
from task_migration.sync import capture
from task_migration.sync.sync_worker import SyncSettings, SyncWorker


@contextmanager
def standing(
    laravel_server: PostgresServer, template: str, task_service_server: PostgresServer, reports: Path, name: str
) -> Iterator[Sides]:
    """Prepared and copied, and both switches on; for all tests of a module, each of which leaves it as it found it."""
    laravel_server.add_database(name, lab_laravel.APPLICATION, template=template)
    task_service_server.add_database(name, TASK_SERVICE_OWNER)
    sides = Sides(
        laravel_server.dsn(name, lab_laravel.MIGRATOR),
        laravel_server.dsn(name, lab_laravel.APPLICATION),
        task_service_server.dsn(name, TASK_SERVICE_OWNER),
        reports,
    )
    try:
        sides.prepare()
        sides.copy()
        for one in ("sync_forward", "sync_backward"):
            sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name=one, state="on")
        yield sides
    finally:
        laravel_server.drop_database(name)
        task_service_server.drop_database(name)


def capture_there(sides: Sides) -> None:
    """The Task Service's own writes are captured too."""
    capture.capture(laravel_dsn="", task_service_dsn=sides.task_service_dsn, side="task_service", check=False)


class Both:
    """A worker of each direction."""

    def __init__(self, sides: Sides, **more: Any) -> None:
        self.sides = sides
        settings = SyncSettings.from_dict({**sides.both, **more})
        self.forward, self.backward = SyncWorker(settings, "forward"), SyncWorker(settings, "backward")

    def connect(self) -> None:
        self.forward.connect()
        self.backward.connect()

    def settle(self) -> None:
        """Steps both until neither finds anything to do."""
        idle = 0
        for _ in range(200):
            steps = [self.backward.step(), self.forward.step()]
            idle = 0 if any(step.entries for step in steps) else idle + 1
            if idle == 3:
                return
        raise AssertionError("the two directions do not come to rest")

    def close(self) -> None:
        self.forward.close()
        self.backward.close()
