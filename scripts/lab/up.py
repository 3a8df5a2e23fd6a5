"""Brings the lab up: Laravel's server and database, the two apps, AWS with its gateway, and the addresses of all."""

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

NEWS_SECONDS = 5.0
"""How old the gateway's last look at the stage may be while nothing is wrong."""


def up(
    *,
    lab_directory: str,
    lab_tasks: int = laravel_tables.FEWEST_TASKS,
    laravel_dump: str = "",
    lab_secure: bool = False,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Makes what is missing of the lab in ``lab_directory`` and starts what stands still; again, it changes nothing.

    ``lab_tasks`` is how many tasks Laravel's database is filled with, 150 (the plan's scale) or more; with
    ``laravel_dump`` that file of pg_dump's goes in instead. One that is filled keeps what it has. In one that is
    ``lab_secure`` the runbook reaches the databases by TLS alone, with a login for each purpose, as in production; it
    stays so.
    Terraform makes the Task Service's server afterwards, on the port set aside for it here; the Task Service's app runs
    already, and answers 503 until then. AWS keeps nothing on disk: one that is started anew sends all traffic to
    Laravel. ``details`` are the endpoints. Raises Refused for too few tasks, or if the lab was filled with anything
    else, and Failed for a dump that PostgreSQL does not take.
    """
    began = time.monotonic()
    world = Locations(Path(lab_directory).resolve())
    if lab_tasks < laravel_tables.FEWEST_TASKS:
        raise Refused(
            "the lab can't be that small",
            measured=f"lab_tasks={lab_tasks}",
            allowed=f"{laravel_tables.FEWEST_TASKS} or more",
            next_step=f"ansible-playbook lab-up.yml -e lab_tasks={laravel_tables.FEWEST_TASKS}",
        )
    asked = LaravelContents(0, database_dump.digest(laravel_dump)) if laravel_dump else LaravelContents(lab_tasks)
    known = world.endpoints()
    lab_secure = lab_secure or "laravel_tls_port" in known
    target_runs_at = world.task_service_server(0).running_port()
    server = world.laravel_server(_port(known.get("laravel_port"), world.laravel_server(0).running_port()))
    target = world.task_service_server(_port(known.get("task_service_port"), target_runs_at, server.port))
    ports = _ports(world, known, (*LISTENING, *(TLS_PROXIES if lab_secure else ())), server.port, target.port)
    running = server.exists() and server.running_port() is not None
    filled = _filled(server, running, known)
    if filled is not None and (filled.dump != asked.dump or (not asked.dump and filled != asked)):
        again = f"-e laravel_dump={laravel_dump}" if asked.dump else f"-e lab_tasks={lab_tasks}"
        raise Refused(
            "the lab is there already, filled with something else",
            measured=f"filled with {filled}, asked for {asked}",
            next_step=f"ansible-playbook lab-down.yml, then ansible-playbook lab-up.yml {again}",
        )
    endpoints = world.endpoints_at(server.port, target.port, filled or asked, ports)
    processes = world.processes(endpoints)
    target_stands_still = target.exists() and target_runs_at is None
    idle = [process for process in processes.values() if process.pid() is None]
    token_is_missing = not world.service_token_file.exists()
    headers_are_missing = not world.probe_headers_file.exists()
    code_is_missing = not laravel_checkout.exists(world.laravel_checkout)
    routes = not idle and _routes(endpoints, time.time() - NEWS_SECONDS)
    of_databases = not running or filled is None or target_stands_still
    files_are_missing = token_is_missing or headers_are_missing or code_is_missing
    changed = of_databases or known != endpoints or not routes or files_are_missing
    if check or not changed:
        return _outcome(changed, filled is None, filled or asked, endpoints, would="would be " if changed else "")

    server.check_marker()
    world.directory.mkdir(parents=True, exist_ok=True)
    if token_is_missing:
        service_token.make(world.service_token_file)
    if lab_secure:
        tls_proxy.make_certificates(world.tls_directory)
    for process in idle:  # they come up while the database is made
        process.launch()
    server.create()
    laravel_tables.add_roles(server)
    if filled is None:
        server.drop_database(laravel_tables.APPLICATION)
        server.add_database(laravel_tables.APPLICATION, laravel_tables.APPLICATION)
        if laravel_dump:
            asked = LaravelContents(database_dump.load(server, laravel_tables.APPLICATION, laravel_dump), asked.dump)
            laravel_tables.mark_contents(server, laravel_tables.APPLICATION, asked)
        else:
            laravel_tables.fill(server, laravel_tables.APPLICATION, lab_tasks, listener)
        endpoints["lab_tasks"] = asked.tasks
    if target_stands_still:
        target.start()
    laravel_checkout.make(world.laravel_checkout)
    if headers_are_missing:
        probe_headers.make(world.probe_headers_file, endpoints["laravel_app_dsn"])
    for name, port in ports.items():
        processes[name].wait(partial(is_listening, port))
    rest_api.make(endpoints["aws_endpoint_url"], endpoints["laravel_upstream"], endpoints["task_service_upstream"])
    processes["gateway"].wait(partial(_routes, endpoints, time.time()))
    world.endpoints_file.write_text(json.dumps(endpoints, indent=2) + "\n", encoding="utf-8")
    return _outcome(True, filled is None, filled or asked, endpoints, seconds=time.monotonic() - began)


def _filled(server: PostgresServer, running: bool, known: dict[str, Any]) -> LaravelContents | None:
    """One that stands still is as full as endpoints.json tells: that file is written last."""
    if not server.exists():
        return None
    if running:
        return laravel_tables.filled(server, laravel_tables.APPLICATION)
    return LaravelContents(known["lab_tasks"], known["lab_dump"]) if known.get("lab_tasks") else None


def _ports(world: Locations, known: dict[str, Any], names: Iterable[str], *taken: int) -> dict[str, int]:
    """A port for each of these processes."""
    before = world.processes(known) if all(f"{name}_port" in known for name in LISTENING) else {}
    found: dict[str, int] = {}
    for name in names:
        had = known.get(f"{name}_port")
        runs = name in before and before[name].pid() is not None
        found[name] = _port(had, had if runs else None, *taken, *found.values())
    return found


def _routes(endpoints: dict[str, Any], since: float) -> bool:
    """Whether the gateway sends the task routes to one of the sides, and looked at the stage since then."""
    try:
        told = httpx.get(f"{endpoints['gateway_url']}/lab/gateway", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    if told.status_code != 200:
        return False
    goes_to = told.json()["variables"].get(VARIABLE)
    sides = (endpoints["laravel_upstream"], endpoints["task_service_upstream"])
    return goes_to in sides and bool(told.json()["asked"] > since)


def _port(known: object, running: int | None, *taken: int) -> int:
    """The port it runs on, else the one it had if nothing else took it since, else a free one that is not ``taken``."""
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
    what: LaravelContents,
    endpoints: dict[str, object],
    would: str = "",
    seconds: float | None = None,
) -> Outcome:
    if not changed:
        message = f"the lab is up already, Laravel with {what}"
    else:
        message = f"the lab {would or 'is '}up{'' if new else ' again'}, Laravel with {what}"
    if seconds is not None:
        message += f", in {seconds:.1f} s"
    following = "database-roles.yml" if endpoints["laravel_admin_dsn"] else "phase-2.1-prepare.yml"
    return Outcome(changed, message, {} if would else dict(endpoints), lines=(f"Next: ansible-playbook {following}",))
