"""Brings the lab up: Laravel's server and database, the two applications, the AWS emulator and the gateway."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from task_migration import progress
from task_migration.errors import Refused
from task_migration.outcome import Outcome

from lab.apps import laravel_checkout, service_token
from lab.gateway import probe_headers, rest_api
from lab.locations import LISTENING, TLS_PROXIES, VARIABLE, Locations
from lab.servers import database_dump, laravel_tables, tls_proxy
from lab.servers.laravel_tables import LaravelContents
from lab.servers.postgres_server import PostgresServer, free_port, port_is_taken
from lab.servers.processes import is_listening

STAGE_READ_SECONDS = 5.0
"""The maximum age of the gateway's last read of the stage in a lab that works."""


def up(
    *,
    lab_directory: str,
    lab_tasks: int = laravel_tables.FEWEST_TASKS,
    laravel_dump: str = "",
    lab_secure: bool = False,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Creates what is missing of the lab in ``lab_directory`` and starts what is stopped. A second run changes nothing.

    ``lab_tasks`` is the number of tasks in Laravel's database: 150 (as in the plan) or more. With ``laravel_dump`` the
    database is loaded from that file of pg_dump instead. A database that is already filled keeps its rows. In a
    ``lab_secure`` lab the runbook reaches the databases only through TLS, with a login for each purpose, as in
    production; such a lab remains secure.

    Terraform creates the Task Service's server later, on the port that is reserved for it here. The Task Service's
    application already runs and answers 503 until then. The AWS emulator stores nothing on disk: after a restart it
    sends all traffic to Laravel.

    Returns the endpoints in ``details``. Raises Refused if ``lab_tasks`` is too small or the lab was filled with other
    data, and Failed if PostgreSQL does not accept the dump.
    """
    began = time.monotonic()
    locations = Locations(Path(lab_directory).resolve())
    if lab_tasks < laravel_tables.FEWEST_TASKS:
        raise Refused(
            "lab_tasks is too small",
            measured=f"lab_tasks={lab_tasks}",
            allowed=f"{laravel_tables.FEWEST_TASKS} or more",
            next_step=f"ansible-playbook lab-up.yml -e lab_tasks={laravel_tables.FEWEST_TASKS}",
        )
    requested = LaravelContents(0, database_dump.digest(laravel_dump)) if laravel_dump else LaravelContents(lab_tasks)
    known = locations.endpoints()
    lab_secure = lab_secure or "laravel_tls_port" in known
    task_service_running_port = locations.task_service_server(0).running_port()
    server = locations.laravel_server(_port(known.get("laravel_port"), locations.laravel_server(0).running_port()))
    task_service = locations.task_service_server(
        _port(known.get("task_service_port"), task_service_running_port, server.port)
    )
    ports = _ports(locations, known, (*LISTENING, *(TLS_PROXIES if lab_secure else ())), server.port, task_service.port)
    running = server.exists() and server.running_port() is not None
    filled = _filled(server, running, known)
    if filled is not None and (filled.dump != requested.dump or (not requested.dump and filled != requested)):
        again = f"-e laravel_dump={laravel_dump}" if requested.dump else f"-e lab_tasks={lab_tasks}"
        raise Refused(
            "the lab already exists with other data",
            measured=f"filled with {filled}; requested: {requested}",
            next_step=f"ansible-playbook lab-down.yml, then ansible-playbook lab-up.yml {again}",
        )
    endpoints = locations.endpoints_at(server.port, task_service.port, filled or requested, ports)
    processes = locations.processes(endpoints)
    task_service_is_stopped = task_service.exists() and task_service_running_port is None
    stopped = [process for process in processes.values() if process.pid() is None]
    token_is_missing = not locations.service_token_file.exists()
    headers_are_missing = not locations.probe_headers_file.exists()
    code_is_missing = not laravel_checkout.exists(locations.laravel_checkout)
    routes = not stopped and _gateway_routes(endpoints, time.time() - STAGE_READ_SECONDS)
    databases_change = not running or filled is None or task_service_is_stopped
    files_are_missing = token_is_missing or headers_are_missing or code_is_missing
    changed = databases_change or known != endpoints or not routes or files_are_missing
    if check or not changed:
        return _outcome(changed, filled is None, filled or requested, endpoints, would="would be " if changed else "")

    server.check_marker()
    locations.directory.mkdir(parents=True, exist_ok=True)
    if token_is_missing:
        service_token.make(locations.service_token_file)
    if lab_secure:
        tls_proxy.make_certificates(locations.tls_directory)
    for process in stopped:  # they start while the database is created
        process.launch()
    server.create()
    laravel_tables.add_roles(server)
    if filled is None:
        server.drop_database(laravel_tables.APPLICATION)
        server.add_database(laravel_tables.APPLICATION, laravel_tables.APPLICATION)
        if laravel_dump:
            requested = LaravelContents(
                database_dump.load(server, laravel_tables.APPLICATION, laravel_dump), requested.dump
            )
            laravel_tables.mark_contents(server, laravel_tables.APPLICATION, requested)
        else:
            laravel_tables.fill(server, laravel_tables.APPLICATION, lab_tasks, listener)
        endpoints["lab_tasks"] = requested.tasks
    if task_service_is_stopped:
        task_service.start()
    laravel_checkout.make(locations.laravel_checkout)
    if headers_are_missing:
        probe_headers.make(locations.probe_headers_file, endpoints["laravel_app_dsn"])
    for name, port in ports.items():
        processes[name].wait(partial(is_listening, port))
    rest_api.make(endpoints["aws_endpoint_url"], endpoints["laravel_upstream"], endpoints["task_service_upstream"])
    processes["gateway"].wait(partial(_gateway_routes, endpoints, time.time()))
    locations.endpoints_file.write_text(json.dumps(endpoints, indent=2) + "\n", encoding="utf-8")
    return _outcome(True, filled is None, filled or requested, endpoints, seconds=time.monotonic() - began)


def _filled(server: PostgresServer, running: bool, known: dict[str, Any]) -> LaravelContents | None:
    """Returns what Laravel's database holds. For a stopped server that is read from endpoints.json, which is written
    last."""
    if not server.exists():
        return None
    if running:
        return laravel_tables.filled(server, laravel_tables.APPLICATION)
    return LaravelContents(known["lab_tasks"], known["lab_dump"]) if known.get("lab_tasks") else None


def _ports(locations: Locations, known: dict[str, Any], names: Iterable[str], *taken: int) -> dict[str, int]:
    """Returns a port for each of these processes."""
    before = locations.processes(known) if all(f"{name}_port" in known for name in LISTENING) else {}
    found: dict[str, int] = {}
    for name in names:
        had = known.get(f"{name}_port")
        runs = name in before and before[name].pid() is not None
        found[name] = _port(had, had if runs else None, *taken, *found.values())
    return found


def _gateway_routes(endpoints: dict[str, Any], since: float) -> bool:
    """Returns whether the gateway sends the task routes to one of the sides, and has read the stage since ``since``."""
    try:
        answer = httpx.get(f"{endpoints['gateway_url']}/lab/gateway", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    if answer.status_code != 200:
        return False
    goes_to = answer.json()["variables"].get(VARIABLE)
    sides = (endpoints["laravel_upstream"], endpoints["task_service_upstream"])
    return goes_to in sides and bool(answer.json()["asked"] > since)


def _port(known: object, running: int | None, *taken: int) -> int:
    """Returns the port in use, else the known one if it is still free, else a free one that is not in ``taken``."""
    if running is not None:
        return running
    if isinstance(known, int) and known not in taken and not port_is_taken(known):
        return known
    while (port := free_port()) in taken:
        continue
    return port


def _outcome(
    changed: bool,
    new: bool,
    contents: LaravelContents,
    endpoints: dict[str, object],
    would: str = "",
    seconds: float | None = None,
) -> Outcome:
    if not changed:
        message = f"the lab is already up; Laravel has {contents}"
    else:
        message = f"the lab {would or 'is '}up{'' if new else ' again'}; Laravel has {contents}"
    if seconds is not None:
        message += f"; it took {seconds:.1f} s"
    following = "database-roles.yml" if endpoints["laravel_admin_dsn"] else "phase-2.1-prepare.yml"
    return Outcome(changed, message, {} if would else dict(endpoints), lines=(f"Next: ansible-playbook {following}",))
