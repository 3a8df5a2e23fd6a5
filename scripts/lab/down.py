"""Takes the lab down: stops its processes and servers, and removes its files and its Terraform state."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from task_migration.outcome import Outcome

from lab.locations import Locations
from lab.servers.postgres_server import directory_lock
from lab.servers.processes import BackgroundProcess, leftover_processes, terminate
from lab.supervisor.supervised import Supervised


def down(*, lab_directory: str, check: bool = False) -> Outcome:
    """Removes the lab in ``lab_directory``. A second run changes nothing.

    Needs neither Terraform nor its state to remove the Task Service's server. Files that the lab did not create remain,
    and so does the directory that holds them. Raises Refused if a server's directory was not created by the lab.
    """
    locations = Locations(Path(lab_directory).resolve())
    processes = [
        BackgroundProcess(file.stem, file.parent, ()) for file in sorted(locations.processes_directory.glob("*.pid"))
    ]
    running = leftover_processes(locations.directory)
    servers = {
        "Laravel's server": locations.laravel_server(0),
        "the Task Service's server": locations.task_service_server(0),
    }
    found = [name for name, server in servers.items() if server.home.exists() or server.directory.exists()]
    services = sorted({file.stem for file in locations.services_directory.glob("task-migration-*.json")})
    if services:
        found.append("services")
    own = (
        locations.services_directory,
        locations.terraform_directory,
        locations.processes_directory,
        locations.tls_directory,
        locations.laravel_checkout,
        locations.service_token_file,
        locations.probe_headers_file,
        locations.endpoints_file,
    )
    files = [path for path in own if path.exists()]
    if processes or running:
        found.append("processes")
    # All servers are checked first, so that a refusal leaves the whole lab unchanged.
    for server in servers.values():
        server.check_marker()
    if check:
        return _outcome(bool(found or files), found, check=True)
    for service in services:
        Supervised(locations.services_directory).remove(service)
    with ThreadPoolExecutor() as pool:
        list(pool.map(BackgroundProcess.stop, processes))
    for process in running:
        terminate(process)
    for server in servers.values():
        with directory_lock(server.directory):
            server.destroy()
    for path in files:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if locations.directory.is_dir() and not any(locations.directory.iterdir()):
        locations.directory.rmdir()
    return _outcome(bool(found or files), found)


def _outcome(changed: bool, found: list[str], check: bool = False) -> Outcome:
    if not changed:
        return Outcome(False, "there is no lab to take down")
    verb = "would be" if check else "was"
    return Outcome(True, f"the lab {verb} taken down: {', '.join(found) or 'its last files'}", {"stopped": found})
