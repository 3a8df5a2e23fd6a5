"""Rehearsals that count: the whole journey typed in a new lab, under live users, each time with another fault.

The labs stand in a folder of their own, one after the other, so that the lab by hand is left alone. What every command
printed, and the reports, stay.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from task_migration import progress
from task_migration.control import rehearsal_gate
from task_migration.errors import Failed, Refused
from task_migration.mapping import mapping_directory
from task_migration.outcome import Outcome

from lab import down
from lab.locations import Locations
from lab.rehearsal.journey import (
    CLEANUP,
    DUAL_WRITE,
    LEFT_TO_CONFIRM,
    PREPARE,
    PROJECT,
    PROOF,
    ROLES,
    VERIFY,
    WATCH_A_WHILE,
    Journey,
    JourneyFailed,
    JourneyStep,
    canary,
    lab_up,
)
from lab.rehearsal.planned_faults import FAULTS
from lab.rehearsal.secret_scan import SecretScan
from lab.servers.postgres_server import free_port

_CLIMB_AGAIN = {"sync killed": (), "database restarted": (0, 5, 25), "breach": (5, 25)}
"""What is typed after the fault, before the journey goes on: the figures of a fault let no weight pass."""
_FIGURES = ("requests", "failed requests", "failed during the fault", "acknowledged", "lost", "doubled", "in conflict")


def rehearsal(
    *,
    times: int = 1,
    laravel_dump: str = "",
    rehearsal_directory: str,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Rehearses so often, and writes one line for each to rehearsals.jsonl; the first begins with ``laravel_dump``.

    What an earlier one that was killed left is taken down first. Details: ``rehearsals``, those lines. Raises Failed at
    the first that is not green, Refused if another run is at it.
    """
    if check:
        return Outcome(True, f"would rehearse the whole journey {times} times, in {rehearsal_directory}")
    began = time.monotonic()
    directory = Path(rehearsal_directory).resolve()
    done: list[dict[str, Any]] = []
    with _alone(directory):
        for number in range(times):
            kind = list(FAULTS)[number % len(FAULTS)]
            title = f"rehearsal {number + 1} of {times}, {kind}"
            dump = laravel_dump if number == 0 else ""
            done.append(_rehearse(directory, number + 1, kind, dump, partial(_tell, listener, title, time.monotonic())))
            rehearsal_gate.record(directory, done[-1])
            if not done[-1]["green"]:
                raise Failed(
                    f"{title}: red after {done[-1]['seconds']:.0f} s",
                    measured=done[-1]["why"],
                    allowed="every command does what the runbook says, and no user is let down",
                    next_step=f"read {done[-1]['log']}; then ansible-playbook rehearse.yml -e times={times}",
                )
    return Outcome(
        True,
        f"rehearsals: {times} green, in {time.monotonic() - began:.0f} s, of the mappings {done[0]['mappings']}",
        {"rehearsals": done},
        tuple(map(_line, done)),
    )


def straight(trip: Journey, kind: str, dump: str) -> None:
    """The journey from nothing to its end, with this fault at a quarter of the users. Raises WentWrong."""
    trip.go(lab_up(dump=dump), ROLES, PREPARE, VERIFY)
    with trip.users() as ledger:
        trip.go(DUAL_WRITE, WATCH_A_WHILE, *canary(5, 25))
        trip.fault = FAULTS[kind](trip)
        trip.go(*canary(*_CLIMB_AGAIN[kind]), *canary(50, 100))
    trip.go(PROOF)
    trip.settle(ledger)
    trip.go(CLEANUP)
    trip.follow(LEFT_TO_CONFIRM)
    trip.refuse_secrets()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One run at a time. Takes down what a run that was killed left, and what this one leaves."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                "another run rehearses here",
                measured=f"{directory / 'lock'} is locked",
                next_step="wait until it has ended",
            ) from None
        down.down(lab_directory=str(_lab(directory)))
        try:
            yield
        finally:
            down.down(lab_directory=str(_lab(directory)))


def _lab(directory: Path) -> Path:
    return directory / "lab"


def _rehearse(directory: Path, number: int, kind: str, dump: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """One rehearsal, as it is to be kept."""
    began, at = time.monotonic(), datetime.now(UTC)
    reports = directory / f"{at:%Y%m%dT%H%M%SZ}-{number}"
    reports.mkdir()
    log = reports / "commands.log"
    why = ""
    hunt = SecretScan(Locations(_lab(directory)), reports)
    with log.open("w", encoding="utf-8", buffering=1) as file, hunt:
        trip = Journey(
            _lab(directory),
            _place(directory, reports),
            tell=lambda line: print(line, file=file),
            on_step=lambda step: tell(_said(step)),
            hunt=hunt,
        )
        try:
            straight(trip, kind, dump)
        except JourneyFailed as wrong:
            why = str(wrong)
        except Exception as error:  # whatever it was, this rehearsal was not green
            why = f"{type(error).__name__}: {error}"
        print(f"\nred: {why}" if why else "\ngreen", file=file)
        down.down(lab_directory=str(_lab(directory)))
    return {
        "at": at.isoformat(timespec="seconds"),
        "green": not why,
        "why": why,
        "fault": kind,
        "mappings": mapping_directory.version(),
        "seconds": round(time.monotonic() - began, 1),
        "figures": {name: trip.told[name] for name in (*_FIGURES, "seconds to home") if name in trip.told},
        "dump": dump,
        "operator": getpass.getuser(),
        "host": socket.gethostname(),
        "revision": _revision(),
        "log": str(log),
        "report": str(reports / "migration-latest.en.html"),
    }


def _place(directory: Path, reports: Path) -> tuple[str, ...]:
    """The words that send a command to this lab."""
    given = {
        "lab_directory": str(_lab(directory)),
        "report_directory": str(reports),
        "mapping_directory": mapping_directory.chosen(),
        "sync_health_ports": {"forward": free_port(), "backward": free_port()},
    }
    return "-i", str(PROJECT / "inventories/local"), "-e", json.dumps(given)


def _tell(listener: progress.Listener, title: str, began: float, note: str) -> None:
    listener(progress.Progress(title, 0, 0, "", time.monotonic() - began, note))


def _said(step: JourneyStep) -> str:
    return f"{step.command[0]}: {step.why}"


def _line(done: dict[str, Any]) -> str:
    counted = ", ".join(f"{name} {value:,}" for name, value in done["figures"].items())
    return f"green, {done['fault']}, in {done['seconds']:.0f} s: {counted}; the page: {done['report']}"


def _revision() -> str:
    """Of this project, "" where git does not know it."""
    done = subprocess.run(
        ["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ.get("PATH", os.defpath)},
        check=False,
    )
    return done.stdout.strip()
