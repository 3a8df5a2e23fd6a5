"""Brings the lab up: Laravel's server and database, the two apps, and the addresses of all there is and will be."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from task_migration import progress
from task_migration.errors import Refused
from task_migration.outcome import Outcome

from lab import laravel, service_token
from lab.postgres_server import free_port, port_is_taken
from lab.processes import listens
from lab.world import LARAVEL_APP, TASK_SERVICE_APP, World


def up(
    *,
    lab_directory: str,
    lab_tasks: int = laravel.FEWEST_TASKS,
    check: bool = False,
    listener: progress.Listener = progress.nobody,
) -> Outcome:
    """Makes what is missing of the lab in ``lab_directory`` and starts what stands still; again, it changes nothing.

    ``lab_tasks`` is how many tasks Laravel's database is filled with, 150 (the plan's scale) or more; one that is
    filled keeps what it has. Terraform makes the Task Service's server afterwards, on the port set aside for it here;
    the Task Service's app runs already, and answers 503 until then.
    ``details`` are the endpoints. Raises Refused for too few tasks, or if the lab was filled with another number.
    """
    began = time.monotonic()
    world = World(Path(lab_directory).resolve())
    if lab_tasks < laravel.FEWEST_TASKS:
        raise Refused(
            "the lab can't be that small",
            measured=f"lab_tasks={lab_tasks}",
            allowed=f"{laravel.FEWEST_TASKS} or more",
            next_step=f"ansible-playbook lab-up.yml -e lab_tasks={laravel.FEWEST_TASKS}",
        )
    known = world.endpoints()
    target_runs_at = world.task_service_server(0).running_port()
    server = world.laravel_server(_port(known.get("laravel_port"), world.laravel_server(0).running_port()))
    target = world.task_service_server(_port(known.get("task_service_port"), target_runs_at, server.port))
    apps_at = _ports_of_apps(world, known, server.port, target.port)
    endpoints = world.endpoints_at(server.port, target.port, lab_tasks, **apps_at)
    apps = world.apps(endpoints)

    running = server.exists() and server.running_port() is not None
    # One that stands still is as full as endpoints.json tells: that file is written last.
    filled = laravel.tasks_in(server, laravel.APPLICATION) if running else known.get("lab_tasks")
    if not server.exists():
        filled = None
    if filled not in (None, lab_tasks):
        raise Refused(
            "the lab is there already, with another number of tasks",
            measured=f"filled with {filled:,} tasks, asked for {lab_tasks:,}",
            next_step=f"ansible-playbook lab-down.yml, then ansible-playbook lab-up.yml -e lab_tasks={lab_tasks}",
        )
    target_stands_still = target.exists() and target_runs_at is None
    idle = [app for app in apps if app.pid() is None]
    token_is_missing = not world.service_token_file.exists()
    changed = (
        not running or filled is None or known != endpoints or target_stands_still or bool(idle) or token_is_missing
    )
    if check or not changed:
        return _outcome(changed, filled is None, lab_tasks, endpoints, would="would be " if changed else "")

    world.directory.mkdir(parents=True, exist_ok=True)
    server.create()
    laravel.add_roles(server)
    if filled is None:
        server.drop_database(laravel.APPLICATION)
        server.add_database(laravel.APPLICATION, laravel.APPLICATION)
        laravel.fill(server, laravel.APPLICATION, lab_tasks, listener)
    if target_stands_still:
        target.start()
    if token_is_missing:
        service_token.make(world.service_token_file)
    for app in idle:
        app.launch()
    for app, port in zip(apps, apps_at.values(), strict=True):
        app.wait(partial(listens, port))
    world.endpoints_file.write_text(json.dumps(endpoints, indent=2) + "\n", encoding="utf-8")
    return _outcome(True, filled is None, lab_tasks, endpoints, seconds=time.monotonic() - began)


def _ports_of_apps(world: World, known: dict[str, Any], *taken: int) -> dict[str, int]:
    """A port for each app, by the name that endpoints.json has for it."""
    found: dict[str, int] = {}
    for app in world.apps(known) if "laravel_app_port" in known else ():
        name = f"{app.name}_port"
        found[name] = _port(known[name], known[name] if app.pid() is not None else None, *taken, *found.values())
    for name in (f"{LARAVEL_APP}_port", f"{TASK_SERVICE_APP}_port"):
        found.setdefault(name, _port(None, None, *taken, *found.values()))
    return found


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
    changed: bool, new: bool, tasks: int, endpoints: dict[str, object], would: str = "", seconds: float | None = None
) -> Outcome:
    if not changed:
        message = f"the lab is up already, Laravel with {tasks:,} tasks"
    else:
        message = f"the lab {would or 'is '}up{'' if new else ' again'}, Laravel with {tasks:,} tasks"
    if seconds is not None:
        message += f", in {seconds:.1f} s"
    return Outcome(
        changed, message, {} if would else dict(endpoints), lines=("next: ansible-playbook phase-2.1-prepare.yml",)
    )
