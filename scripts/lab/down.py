"""Takes the lab down: every process and server of it, Terraform's state of it, and its files."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from task_migration.outcome import Outcome

from lab.locations import Locations
from lab.servers.postgres_server import directory_lock
from lab.servers.processes import BackgroundProcess, end, leftover_processes
from lab.supervisor.supervised import Supervised


def down(*, lab_directory: str, check: bool = False) -> Outcome:
    """Leaves no process and no file of the lab in ``lab_directory``; again, it changes nothing.

    It needs neither Terraform nor its state to take away the Task Service's server. What is not the lab's stays, and so
    does the directory then. Raises Refused if something stands in a server's place that the lab did not make.
    """
    world = Locations(Path(lab_directory).resolve())
    processes = [
        BackgroundProcess(file.stem, file.parent, ()) for file in sorted(world.processes_directory.glob("*.pid"))
    ]
    running = leftover_processes(world.directory)
    servers = {"Laravel's server": world.laravel_server(0), "the Task Service's server": world.task_service_server(0)}
    found = [name for name, server in servers.items() if server.home.exists() or server.directory.exists()]
    services = sorted({file.stem for file in world.services_directory.glob("task-migration-*.json")})
    if services:
        found.append("its services")
    own = (
        world.services_directory,
        world.terraform_directory,
        world.processes_directory,
        world.tls_directory,
        world.laravel_checkout,
        world.service_token_file,
        world.probe_headers_file,
        world.endpoints_file,
    )
    files = [path for path in own if path.exists()]
    if processes or running:
        found.append("its processes")
    # All of them are looked at first, so that a refusal leaves the whole lab as it is.
    for server in servers.values():
        server.check_marker()
    if check:
        return _outcome(bool(found or files), found, "would be ")
    for service in services:
        Supervised(world.services_directory).remove(service)
    with ThreadPoolExecutor() as all_at_once:
        list(all_at_once.map(BackgroundProcess.stop, processes))
    for stray in running:
        end(stray)
    for server in servers.values():
        with directory_lock(server.directory):
            server.destroy()
    for path in files:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if world.directory.is_dir() and not any(world.directory.iterdir()):
        world.directory.rmdir()
    return _outcome(bool(found or files), found)


def _outcome(changed: bool, found: list[str], would: str = "") -> Outcome:
    if not changed:
        return Outcome(False, "there is no lab to take down")
    what = " and ".join(found) or "its last files"
    return Outcome(True, f"the lab {would or 'is '}down, with {what}", {"stopped": found})
