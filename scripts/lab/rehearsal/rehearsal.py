"""Rehearsals that count: the whole journey in a new lab, with live users, each time with another planned fault.

The labs are in a folder of their own, one after the other, so the operator's own lab is not touched. The output of
every command and the reports are kept.
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
    MOST_REMAINING_COMMANDS,
    PREPARE,
    PROJECT,
    PROOF,
    ROLES,
    SHORT_WATCH,
    VERIFY,
    Journey,
    JourneyFailed,
    JourneyStep,
    canary,
    lab_up,
)
from lab.rehearsal.planned_faults import FAULTS
from lab.rehearsal.secret_scan import SecretScan
from lab.servers.postgres_server import free_port

_WEIGHTS_AFTER_FAULT = {"sync killed": (), "database restarted": (0, 5, 25), "breach": (5, 25)}
"""The weights to set after the fault, before the journey continues: the metrics of a fault pass no gate."""
_RECORDED = (
    *("requests", "failed requests", "failed during the fault", "acknowledged", "lost", "doubled", "in conflict"),
    "seconds to rollback",
)


def rehearsal(
    *,
    times: int = 1,
    laravel_dump: str = "",
    rehearsal_directory: str,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Runs ``times`` rehearsals, and adds one line for each to rehearsals.jsonl. The first one loads ``laravel_dump``.

    First takes down what a killed run left. Returns those lines in ``details`` as ``rehearsals``. Raises Failed at the
    first rehearsal that is not green, and Refused if another run uses the same folder.
    """
    if check:
        return Outcome(True, f"the whole journey would be rehearsed {times} times, in {rehearsal_directory}")
    began = time.monotonic()
    directory = Path(rehearsal_directory).resolve()
    done: list[dict[str, Any]] = []
    with _alone(directory):
        for number in range(times):
            kind = list(FAULTS)[number % len(FAULTS)]
            title = f"rehearsal {number + 1} of {times}, {kind}"
            dump = laravel_dump if number == 0 else ""
            done.append(
                _rehearse(
                    directory, number + 1, kind, dump, partial(_report_progress, listener, title, time.monotonic())
                )
            )
            rehearsal_gate.record(directory, done[-1])
            if not done[-1]["green"]:
                raise Failed(
                    f"{title}: red after {done[-1]['seconds']:.0f} s",
                    measured=done[-1]["why"],
                    allowed="every command does what the runbook says, and no request of a user fails",
                    next_step=f"read {done[-1]['log']}; then ansible-playbook rehearse.yml -e times={times}",
                )
    return Outcome(
        True,
        f"rehearsals: {times} green in {time.monotonic() - began:.0f} s, with the mappings {done[0]['mappings']}",
        {"rehearsals": done},
        tuple(map(_line, done)),
    )


def run_journey(journey: Journey, kind: str, dump: str) -> None:
    """Runs the journey from start to end, with this fault at 25 % of the traffic. Raises JourneyFailed."""
    journey.run(lab_up(dump=dump), ROLES, PREPARE, VERIFY)
    with journey.traffic() as ledger:
        journey.run(DUAL_WRITE, SHORT_WATCH, *canary(5, 25))
        journey.fault_period = FAULTS[kind](journey)
        journey.run(*canary(*_WEIGHTS_AFTER_FAULT[kind]), *canary(50, 100))
    journey.run(PROOF)
    journey.check_writes(ledger)
    journey.run(CLEANUP)
    journey.follow_next_steps(MOST_REMAINING_COMMANDS)
    journey.check_secrets()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Allows one run at a time. Takes the lab down before and after it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                "another run uses this rehearsal_directory",
                measured=f"{directory / 'lock'} is locked",
                next_step="wait until it has finished",
            ) from None
        down.down(lab_directory=str(_lab(directory)))
        try:
            yield
        finally:
            down.down(lab_directory=str(_lab(directory)))


def _lab(directory: Path) -> Path:
    return directory / "lab"


def _rehearse(directory: Path, number: int, kind: str, dump: str, print_line: Callable[[str], None]) -> dict[str, Any]:
    """Runs one rehearsal. Returns its record."""
    began, at = time.monotonic(), datetime.now(UTC)
    reports = directory / f"{at:%Y%m%dT%H%M%SZ}-{number}"
    reports.mkdir()
    log = reports / "commands.log"
    why = ""
    secret_scan = SecretScan(Locations(_lab(directory)), reports)
    with log.open("w", encoding="utf-8", buffering=1) as file, secret_scan:
        journey = Journey(
            _lab(directory),
            _lab_arguments(directory, reports),
            print_line=lambda line: print(line, file=file),
            on_step=lambda step: print_line(_progress_note(step)),
            secret_scan=secret_scan,
        )
        try:
            run_journey(journey, kind, dump)
        except JourneyFailed as failure:
            why = str(failure)
        except Exception as error:  # whatever the error is, the rehearsal was not green
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
        "figures": {name: journey.results[name] for name in _RECORDED if name in journey.results},
        "dump": dump,
        "operator": getpass.getuser(),
        "host": socket.gethostname(),
        "revision": _revision(),
        "log": str(log),
        "report": str(reports / "migration-latest.en.html"),
    }


def _lab_arguments(directory: Path, reports: Path) -> tuple[str, ...]:
    """Returns the arguments that direct a command to this lab."""
    given = {
        "lab_directory": str(_lab(directory)),
        "report_directory": str(reports),
        "mapping_directory": mapping_directory.chosen(),
        "sync_health_ports": {"forward": free_port(), "backward": free_port()},
    }
    return "-i", str(PROJECT / "inventories/local"), "-e", json.dumps(given)


def _report_progress(listener: progress.Listener, title: str, began: float, note: str) -> None:
    listener(progress.Progress(title, 0, 0, "", time.monotonic() - began, note))


def _progress_note(step: JourneyStep) -> str:
    return f"{step.command[0]}: {step.title}"


def _line(done: dict[str, Any]) -> str:
    counted = ", ".join(f"{name} {value:,}" for name, value in done["figures"].items())
    return f"green, {done['fault']}, in {done['seconds']:.0f} s: {counted}; report: {done['report']}"


def _revision() -> str:
    """Returns this project's git revision; "" if git does not know it."""
    done = subprocess.run(
        ["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ.get("PATH", os.defpath)},
        check=False,
    )
    return done.stdout.strip()
