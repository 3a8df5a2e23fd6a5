"""Real databases for the tests: one server for each side per session, a fresh database for each test that asks.

    def test_something(laravel_database, task_service_database):
        laravel = laravel_database()                  # the lab's tables and 150 tasks, hostile rows among them
        target = task_service_database()              # empty
        copy(laravel_dsn=laravel.dsn, task_service_dsn=target.dsn, ...)

A database comes from a template in less than 0.1 s, so no test needs to share one.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from lab.servers import laravel_tables
from lab.servers.postgres_server import PostgresServer, free_port

TASK_SERVICE_OWNER = "task_service_admin"
LONGEST_FIRST = ("tests/playbooks/", "tests/integration/")

# A shell makes its background jobs ignore SIGINT, and every program that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two workers end at about the same time if what takes long begins first."""
    places = {item: [item.nodeid.startswith(folder) for folder in LONGEST_FIRST] for item in items}
    items.sort(key=lambda item: places[item], reverse=True)


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root."""
    return Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Database:
    """A fresh database: ``dsn`` is the runbook's login, ``owner_dsn`` the application that owns it."""

    name: str
    dsn: str
    owner_dsn: str
    superuser_dsn: str


@pytest.fixture(scope="session")
def laravel_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Laravel's server with the lab's roles, and no database yet."""
    server = PostgresServer(tmp_path_factory.mktemp("laravel_server"), free_port())
    try:
        server.create()
        laravel_tables.add_roles(server)
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def task_service_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The Task Service's server with its master login, as Terraform makes it."""
    server = PostgresServer(tmp_path_factory.mktemp("task_service_server"), free_port())
    try:
        server.create()
        server.add_login(TASK_SERVICE_OWNER, "CREATEDB CREATEROLE")
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def laravel_template(laravel_server: PostgresServer) -> Callable[[int], str]:
    """The name of a filled template database with so many tasks; filled when it is first asked for."""

    def template(tasks: int) -> str:
        name = f"template_{tasks}"
        if laravel_server.add_database(name, laravel_tables.APPLICATION):
            laravel_tables.fill(laravel_server, name, tasks)
        return name

    return template


_numbers = count(1)


@pytest.fixture
def laravel_database(
    laravel_server: PostgresServer, laravel_template: Callable[[int], str]
) -> Iterator[Callable[..., Database]]:
    """``laravel_database(tasks=150)`` makes a fresh Laravel database; dropped after the test."""
    names = []

    def fresh(tasks: int = laravel_tables.FEWEST_TASKS) -> Database:
        name = f"laravel_{next(_numbers)}"
        laravel_server.add_database(name, laravel_tables.APPLICATION, template=laravel_template(tasks))
        names.append(name)
        return Database(
            name,
            laravel_server.dsn(name, laravel_tables.MIGRATOR),
            laravel_server.dsn(name, laravel_tables.APPLICATION),
            laravel_server.dsn(name),
        )

    yield fresh
    for name in names:
        laravel_server.drop_database(name)


@pytest.fixture
def task_service_database(task_service_server: PostgresServer) -> Iterator[Callable[[], Database]]:
    """``task_service_database()`` makes a fresh, empty Task Service database; dropped after the test."""
    names = []

    def fresh() -> Database:
        name = f"task_service_{next(_numbers)}"
        task_service_server.add_database(name, TASK_SERVICE_OWNER)
        names.append(name)
        dsn = task_service_server.dsn(name, TASK_SERVICE_OWNER)
        return Database(name, dsn, dsn, task_service_server.dsn(name))

    yield fresh
    for name in names:
        task_service_server.drop_database(name)
