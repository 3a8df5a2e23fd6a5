"""What goes wrong in a rehearsal, on purpose: a sync that is killed, a database that crashes, a Task Service that fails
while users are there. Each gives from when until when users may have noticed, in seconds since 1970.
"""

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
"""The gates' own bound. What the syncs tell of is the last 10 s, so it takes that long until a fault is out of it."""


def sync_killed(journey: Journey) -> FaultPeriod | None:
    """Both syncs die of SIGKILL, as out of memory; what keeps them alive must bring them back. Users notice nothing."""
    services = Locations(journey.folder).services_directory
    victims = {file: pid for file in sorted(services.glob("*sync*.child.pid")) if (pid := PidFile(file).holder())}
    if not victims:
        raise JourneyFailed(f"the sync could not be killed: no process of it is told of in {services}")
    journey.tell(f"\n=== the syncs are killed: {', '.join(file.name.removesuffix('.child.pid') for file in victims)}")
    for pid in victims.values():
        psutil.Process(pid).send_signal(signal.SIGKILL)
    for file, pid in victims.items():
        _wait(partial(_is_back, file, pid), f"{file.name} tells of no new process")
    _wait(lambda: not _late(journey), "the syncs did not catch up")
    return None


def database_restarted(journey: Journey) -> FaultPeriod | None:
    """The Task Service's server crashes under its users, and comes up again as a failover would bring it back."""
    told = journey.endpoints
    server = Locations(journey.folder).task_service_server(told["task_service_port"])
    journey.tell("\n=== the Task Service's database crashes, and is started again")
    began = time.time()
    server.stop("immediate")
    server.start()
    with httpx.Client(trust_env=False, timeout=5) as client:
        _wait(lambda: client.get(f"{told['task_service_url']}/health").status_code == 200, "it is not well again")
    over = time.time()
    _wait(lambda: not _late(journey), "the syncs did not catch up")
    return began, over


def breach(journey: Journey) -> FaultPeriod | None:
    """The Task Service fails while the watch looks, which must bring every user home and fail. ``journey.told`` has in
    "seconds to home" how long that took."""
    watch = JourneyStep("the watch", ("watch.yml", "-e", f"watch_interval_seconds={WATCH_SECONDS}"))
    home = _RollbackTimer(journey)
    watched: list[str] = []
    running = threading.Thread(target=lambda: watched.append(_failure_of(journey, watch)))
    running.start()
    time.sleep(WATCH_SECONDS)
    home.start()
    journey.go(fault("errors", FAULT_PERCENT))
    running.join()
    home.join(PATIENCE_SECONDS)
    if not watched[0] or not home.at:
        raise JourneyFailed(
            "watch.yml: it ended well, or users are still there, where it had to bring them home and fail"
        )
    journey.go(fault("none"))
    journey.told["seconds to home"] = round(home.at - home.began, 1)
    journey.tell(f"from the breach until every user was back in Laravel: {home.at - home.began:.1f} s")
    return home.began, time.time()


FAULTS: dict[str, Callable[[Journey], FaultPeriod | None]] = {
    "sync killed": sync_killed,
    "database restarted": database_restarted,
    "breach": breach,
}


class _RollbackTimer(threading.Thread):
    """Looks ten times a second when the fault is on, and when the gateway sends nobody to the Task Service any more."""

    def __init__(self, journey: Journey) -> None:
        super().__init__(daemon=True)
        self._told = journey.endpoints
        self.began = 0.0
        self.at = 0.0

    def run(self) -> None:
        deadline = time.monotonic() + 2 * PATIENCE_SECONDS
        with httpx.Client(trust_env=False, timeout=5) as client:
            while not self.at and time.monotonic() < deadline:
                if not self.began and client.get(f"{self._told['task_service_url']}/lab/faults").json()["error_rate"]:
                    self.began = time.time()
                elif self.began and self._is_laravels(client):
                    self.at = time.time()
                time.sleep(0.1)

    def _is_laravels(self, client: httpx.Client) -> bool:
        """Whether every request goes to Laravel, by what is in force at the gateway."""
        settings = client.get(f"{self._told['gateway_url']}/lab/gateway").json()
        return self._told["laravel_upstream"] in settings["variables"].values() and not settings["percent"]


def _failure_of(journey: Journey, step: JourneyStep) -> str:
    try:
        journey.type(step)
    except JourneyFailed as wrong:
        return str(wrong)
    return ""


def _late(journey: Journey) -> bool:
    """Whether a sync has anything to catch up with, or was late within the time that it tells of."""
    ports = configuration.read(Locations(journey.folder).services_directory / "sync.json").health_ports
    told = [health_endpoint.ask(port) for port in ports.values()]
    return any(one is None or (health_endpoint.p95_ms(one) or 0) > LATE_MS for one in told)


def _is_back(file: Path, pid: int) -> bool:
    return PidFile(file).holder() not in (None, 0, pid)


def _wait(until: Callable[[], bool], otherwise: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise JourneyFailed(f"after {seconds:g} s {otherwise}")
        time.sleep(0.1)
