"""A journey through a lab: the operator's commands, each with the result that it must have.

From the dual write on, users write through the gateway. Every acknowledged write is then looked up in both databases.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from task_migration.errors import Refused

from lab.load.accounting import account, table
from lab.load.availability import FaultPeriod, availability
from lab.load.ledger import read
from lab.rehearsal.secret_scan import SecretScan
from lab.servers.processes import terminate

PROJECT = Path(__file__).resolve().parents[3]
PLAYBOOKS = PROJECT / "playbooks"
REQUESTS_PER_SECOND = 200
MOST_REMAINING_COMMANDS = 3
"""The maximum number of commands that may remain after phase 2.5: confirmations that no program can give."""
REASON = "a rehearsal of the rollback"
REFUSED = Refused.prefix.rstrip(": ")
_NEXT = re.compile(r"Next: +ansible-playbook +([^(]+?) *(?:\(.*)?$")


@dataclass(frozen=True)
class JourneyStep:
    """One command. ``changes_nothing``: its recap must count no change. ``refused``: it must be refused."""

    title: str
    command: tuple[str, ...]
    changes_nothing: bool = False
    refused: bool = False


class JourneyFailed(Exception):
    """A command did not do what the runbook says, or a user's request failed."""


@dataclass
class Journey:
    """A lab by its folder, and what happens in it.

    ``lab_arguments`` direct a command to this lab. ``print_line`` receives the output, ``on_step`` each step before it
    runs. ``results`` are the counts of the users' requests. ``fault_period`` is the start and end of a planned fault,
    in seconds since 1970. ``secret_scan`` looks for secrets in everything that the journey does.
    """

    folder: Path
    lab_arguments: tuple[str, ...] = ()
    print_line: Callable[[str], None] = lambda line: print(line, flush=True)
    on_step: Callable[[JourneyStep], None] = lambda _: None
    results: dict[str, Any] = field(default_factory=dict)
    fault_period: FaultPeriod | None = None
    secret_scan: SecretScan | None = None

    @property
    def endpoints_file(self) -> Path:
        return self.folder / "endpoints.json"

    @property
    def endpoints(self) -> dict[str, Any]:
        """Returns the lab's addresses."""
        found: dict[str, Any] = json.loads(self.endpoints_file.read_text(encoding="utf-8"))
        return found

    def run(self, *steps: JourneyStep) -> None:
        """Runs the steps in order. Raises JourneyFailed at the first one with another result than it must have."""
        for step in steps:
            self.run_step(step)

    def run_step(self, step: JourneyStep) -> str:
        """Runs one command as an operator does, and returns its output. Raises JourneyFailed."""
        self.on_step(step)
        words = ["ansible-playbook", *step.command, *self.lab_arguments]
        self.print_line(f"\n=== {step.title}\n$ cd playbooks && {shlex.join(words[: 1 + len(step.command)])}")
        began = time.monotonic()
        printed: list[str] = []
        scanned = self.secret_scan.environment if self.secret_scan else {}
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **scanned}
        with subprocess.Popen(
            words,
            cwd=PLAYBOOKS,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                printed.append(line)
                self.print_line(line.rstrip("\n"))
        if self.secret_scan:
            self.secret_scan.printed += printed
            self.secret_scan.collect()
        self.print_line(f"({time.monotonic() - began:.1f} s)")
        output = "".join(printed)
        if problem := _problem(step, process.returncode, output):
            raise JourneyFailed(f"{step.command[0]}: {problem}")
        return output

    @contextmanager
    def traffic(self, requests: int = REQUESTS_PER_SECOND) -> Iterator[Path]:
        """Runs user traffic through the gateway while the block runs. Yields the ledger."""
        ledger = self.folder / f"users-{time.time():.0f}.jsonl"
        words = [
            sys.executable,
            "-m",
            "lab.load.traffic",
            "--endpoints",
            str(self.endpoints_file),
            "--ledger",
            str(ledger),
        ]
        self.print_line(f"\n=== user traffic: {requests} requests per second, half of them writes")
        process = subprocess.Popen([*words, "--gateway-requests", str(requests)], stdout=subprocess.DEVNULL)
        try:
            yield ledger
        finally:
            terminate(psutil.Process(process.pid))
            process.wait()

    def check_writes(self, ledger: Path) -> None:
        """Looks up every acknowledged write in both databases.

        Raises JourneyFailed if a write was lost or doubled, or a request failed outside a planned fault.
        """
        self.print_line("\n=== look up every acknowledged write in both databases")
        sides = {name: self.endpoints[name] for name in ("laravel_dsn", "task_service_dsn")}
        self.results |= account(**sides, ledger=ledger, fault=self.fault_period)
        self.print_line(table(self.results))
        planned = self.results.get("failed during the fault", 0)
        if not self.results["whole"] or self.results["failed requests"] != planned:
            raise JourneyFailed("users: a write was lost or doubled, or a request failed outside a planned fault")

    def check_availability(self, ledger: Path) -> None:
        """Checks only the answers, for when just one side has the users' writes. Raises JourneyFailed if a request
        failed."""
        found = availability(read(ledger))
        self.print_line(f"users: {found['requests']:,} requests, {found['failed requests']} failed")
        if found["failed requests"]:
            raise JourneyFailed(f"users: {found['failed requests']} requests failed, and no fault was planned")

    def check_secrets(self) -> None:
        """Raises JourneyFailed if a secret is where others can read it."""
        if self.secret_scan is None:
            return
        found = self.secret_scan.findings()
        self.print_line(f"secrets: {self.secret_scan.summary()}: {'; '.join(found) or 'none found'}")
        if found:
            raise JourneyFailed(f"secrets: {len(found)} found where others can read them")

    def follow_next_steps(self, most: int) -> str:
        """Runs the next command that status.yml prints, until there is none. Returns the last output of status.yml.

        Raises JourneyFailed if that takes more than ``most`` commands.
        """
        for _ in range(most):
            output = self.run_step(JourneyStep("the status, and the next command", ("status.yml",)))
            following = next((found for line in reversed(output.splitlines()) if (found := _NEXT.search(line))), None)
            if following is None:
                return output
            self.run_step(JourneyStep("the next command of the status", tuple(shlex.split(following[1]))))
        raise JourneyFailed(f"status.yml: after {most} commands there is still a next one")


def _problem(step: JourneyStep, code: int, output: str) -> str:
    """Returns what is wrong with the result of a command; "" if nothing is."""
    if step.refused:
        return "" if code and REFUSED in output else "it was not refused"
    if code:
        return f"it exited with code {code}"
    if step.changes_nothing and not re.search(r"\bchanged=0\b", output):
        return "it changed something on the second run"
    return ""


# The steps


def lab_up(tasks: int = 0, dump: str = "") -> JourneyStep:
    """Returns the step that starts the lab. ``tasks`` 0 means 150, as in the plan."""
    words = (*(("-e", f"lab_tasks={tasks}") if tasks else ()), *(("-e", f"laravel_dump={dump}") if dump else ()))
    return JourneyStep("start the lab, secured as production is", ("lab-up.yml", "-e", "lab_secure=yes", *words))


LAB_DOWN = JourneyStep("take the lab down", ("lab-down.yml",))
ROLES = JourneyStep("create a login for each purpose", ("database-roles.yml",))
PREPARE = JourneyStep("phase 2.1", ("phase-2.1-prepare.yml",))
VERIFY = JourneyStep("phase 2.2, with the rollback test", ("phase-2.2-verify.yml",))
DUAL_WRITE = JourneyStep("phase 2.3, while users write", ("phase-2.3-dual-write.yml",))
SHORT_WATCH = JourneyStep(
    "the watch: no request to the API fails", ("watch.yml", "-e", "watch_seconds=6", "-e", "watch_interval_seconds=2")
)
PROOF = JourneyStep("phase 2.2 again: nothing is pending and both sides are equal", ("phase-2.2-verify.yml",))
CLEANUP = JourneyStep("phase 2.5, with the signature", ("phase-2.5-cleanup.yml", "-e", "approve=yes"))


def canary(*weights: int) -> list[JourneyStep]:
    """Returns one step for each weight."""
    return [
        JourneyStep(
            f"phase 2.4: {weight} % of the traffic to the Task Service",
            ("phase-2.4-canary.yml", "-e", f"weight={weight}"),
        )
        for weight in weights
    ]


def forced(weight: int) -> JourneyStep:
    """Returns the step to a weight out of order. It needs a reason, and passes the same gates."""
    words = ("-e", "force=true", "-e", f"reason='{REASON}'")
    return JourneyStep(f"phase 2.4: {weight} % at once, forced", (*canary(weight)[0].command, *words))


def fault(kind: str, percent: int = 0) -> JourneyStep:
    """Returns the step that switches a fault of the Task Service's application on, or all of them off (``none``)."""
    title = f"{percent} % of the Task Service's answers are errors" if percent else "the Task Service has no fault"
    words = ("-e", f"lab_fault_percent={percent}") if percent else ()
    return JourneyStep(title, ("lab-fault.yml", "-e", f"lab_fault={kind}", *words))


def again(step: JourneyStep) -> JourneyStep:
    """Returns the same step, which must change nothing when it is repeated."""
    return JourneyStep(f"{step.title}: the second run changes nothing", step.command, changes_nothing=True)
