"""The planned faults of a rehearsal. Each function returns its start and end for users, in seconds since 1970."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import psutil
from task_migration.runtime import configuration, health_endpoint

from lab.load.availability import FaultPeriod
from lab.locations import Locations
from lab.rehearsal.journey import Journey, JourneyFailed, JourneyStep, fault
from lab.supervisor.pid_file import PidFile

FAULT_PERCENT = 5
WATCH_SECONDS = 5
PATIENCE_SECONDS = 60.0
LATE_MS = 100
"""The bound of the gates. The sync reports its latency over the last 10 s, so a fault affects it for that long."""


def sync_killed(journey: Journey) -> FaultPeriod | None:
    """Kills both syncs with SIGKILL, as the kernel does when memory runs out. Their supervisors must restart them.

    Users notice nothing, so it returns None.
    """
    services = Locations(journey.folder).services_directory
    victims = {file: pid for file in sorted(services.glob("*sync*.child.pid")) if (pid := PidFile(file).holder())}
    if not victims:
        raise JourneyFailed(f"cannot kill the sync: no pid file of it in {services}")
    names = ", ".join(file.name.removesuffix(".child.pid") for file in victims)
    journey.print_line(f"\n=== kill the syncs: {names}")
    for pid in victims.values():
        psutil.Process(pid).send_signal(signal.SIGKILL)
    for file, pid in victims.items():
        _wait_until(partial(_is_restarted, file, pid), f"{file.name} names no new process")
    _wait_until(lambda: not _is_late(journey), "the syncs have not caught up")
    return None


def database_restarted(journey: Journey) -> FaultPeriod | None:
    """Crashes the Task Service's server while users write, and starts it again, as after a failover."""
    endpoints = journey.endpoints
    server = Locations(journey.folder).task_service_server(endpoints["task_service_port"])
    journey.print_line("\n=== crash the Task Service's database, and start it again")
    began = time.time()
    server.stop("immediate")
    server.start()
    with httpx.Client(trust_env=False, timeout=5) as client:
        _wait_until(
            lambda: client.get(f"{endpoints['task_service_url']}/health").status_code == 200,
            "the Task Service does not answer",
        )
    over = time.time()
    _wait_until(lambda: not _is_late(journey), "the syncs have not caught up")
    return began, over


def breach(journey: Journey) -> FaultPeriod | None:
    """Lets the Task Service fail while the watch runs. The watch must roll back all traffic and fail.

    ``journey.results`` has the duration as "seconds to rollback".
    """
    watch = JourneyStep("the watch", ("watch.yml", "-e", f"watch_interval_seconds={WATCH_SECONDS}"))
    timer = _RollbackTimer(journey)
    watched: list[str] = []
    running = threading.Thread(target=lambda: watched.append(_run_expecting_failure(journey, watch)))
    running.start()
    time.sleep(WATCH_SECONDS)
    timer.start()
    journey.run(fault("errors", FAULT_PERCENT))
    running.join()
    timer.join(PATIENCE_SECONDS)
    if not watched[0] or not timer.rolled_back_at:
        raise JourneyFailed("watch.yml: it did not fail, or it did not roll back all traffic to Laravel")
    journey.run(fault("none"))
    seconds = round(timer.rolled_back_at - timer.began, 1)
    journey.results["seconds to rollback"] = seconds
    journey.print_line(f"from the breach until all traffic was back at Laravel: {seconds} s")
    return timer.began, time.time()


FAULTS: dict[str, Callable[[Journey], FaultPeriod | None]] = {
    "sync killed": sync_killed,
    "database restarted": database_restarted,
    "breach": breach,
}


class _RollbackTimer(threading.Thread):
    """Records when the fault is on and when the gateway sends all traffic to Laravel, checking ten times per second."""

    def __init__(self, journey: Journey) -> None:
        super().__init__(daemon=True)
        self._endpoints = journey.endpoints
        self.began = 0.0
        self.rolled_back_at = 0.0

    def run(self) -> None:
        deadline = time.monotonic() + 2 * PATIENCE_SECONDS
        faults = f"{self._endpoints['task_service_url']}/lab/faults"
        with httpx.Client(trust_env=False, timeout=5) as client:
            while not self.rolled_back_at and time.monotonic() < deadline:
                if not self.began and client.get(faults).json()["error_rate"]:
                    self.began = time.time()
                elif self.began and self._all_traffic_to_laravel(client):
                    self.rolled_back_at = time.time()
                time.sleep(0.1)

    def _all_traffic_to_laravel(self, client: httpx.Client) -> bool:
        """Returns whether every request goes to Laravel by the gateway's active settings."""
        settings = client.get(f"{self._endpoints['gateway_url']}/lab/gateway").json()
        return self._endpoints["laravel_upstream"] in settings["variables"].values() and not settings["percent"]


def _run_expecting_failure(journey: Journey, step: JourneyStep) -> str:
    try:
        journey.run_step(step)
    except JourneyFailed as failure:
        return str(failure)
    return ""


def _is_late(journey: Journey) -> bool:
    """Returns whether a sync has not caught up, or was late within the time that it reports on."""
    ports = configuration.read(Locations(journey.folder).services_directory / "sync.json").health_ports
    answers = [health_endpoint.ask(port) for port in ports.values()]
    return any(one is None or (health_endpoint.p95_ms(one) or 0) > LATE_MS for one in answers)


def _is_restarted(file: Path, pid: int) -> bool:
    return PidFile(file).holder() not in (None, 0, pid)


def _wait_until(until: Callable[[], bool], otherwise: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise JourneyFailed(f"{otherwise} after {seconds:g} s")
        time.sleep(0.1)
