"""A journey through a lab: commands typed as an operator types them, each with what must come of it.

From the dual write on users come through the gateway; what they were told is done is held against both databases.
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

from lab.load.accounting import account, table
from lab.load.availability import FaultPeriod, availability
from lab.load.ledger import read
from lab.rehearsal.secret_scan import SecretScan
from lab.servers.processes import end

PROJECT = Path(__file__).resolve().parents[3]
PLAYBOOKS = PROJECT / "playbooks"
REQUESTS_PER_SECOND = 200
LEFT_TO_CONFIRM = 3
"""How many more commands the end of the migration may take: what no machine can know."""
REASON = "a rehearsal of the way back from the end"
_NEXT = re.compile(r"Next: +ansible-playbook +([^(]+?) *(?:\(.*)?$")


@dataclass(frozen=True)
class JourneyStep:
    """One command of the journey. ``changes_nothing``: its recap must count no change; ``refused``: it must be."""

    why: str
    command: tuple[str, ...]
    changes_nothing: bool = False
    refused: bool = False


class JourneyFailed(Exception):
    """A command did not do what the runbook says it does, or users were let down."""


@dataclass
class Journey:
    """A lab by its folder, the further words that send a command there, and who listens to what is printed.

    ``hunt`` looks for secrets in all that is done. ``on_step`` is called with each step before it is typed. ``told``
    are the figures of the users who came and went; ``fault`` is from when until when failures were meant, in seconds
    since 1970.
    """

    folder: Path
    place: tuple[str, ...] = ()
    tell: Callable[[str], None] = lambda line: print(line, flush=True)
    on_step: Callable[[JourneyStep], None] = lambda _: None
    told: dict[str, Any] = field(default_factory=dict)
    fault: FaultPeriod | None = None
    hunt: SecretScan | None = None

    @property
    def endpoints_file(self) -> Path:
        return self.folder / "endpoints.json"

    @property
    def endpoints(self) -> dict[str, Any]:
        """What the lab says of itself."""
        found: dict[str, Any] = json.loads(self.endpoints_file.read_text(encoding="utf-8"))
        return found

    def go(self, *steps: JourneyStep) -> None:
        """Types one after the other. Raises WentWrong at the first that does not go as it must."""
        for step in steps:
            self.type(step)

    def type(self, step: JourneyStep) -> str:
        """Runs one command as an operator does, and gives what it printed. Raises WentWrong."""
        self.on_step(step)
        words = ["ansible-playbook", *step.command, *self.place]
        self.tell(f"\n=== {step.why}\n$ cd playbooks && {shlex.join(words[: 1 + len(step.command)])}")
        began = time.monotonic()
        printed: list[str] = []
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(self.hunt.environment if self.hunt else {})}
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
                self.tell(line.rstrip("\n"))
        if self.hunt:
            self.hunt.printed += printed
            self.hunt.learn()
        self.tell(f"({time.monotonic() - began:.1f} s)")
        said = "".join(printed)
        if wrong := _wrong(step, process.returncode, said):
            raise JourneyFailed(f"{step.command[0]}: {wrong}")
        return said

    @contextmanager
    def users(self, requests: int = REQUESTS_PER_SECOND) -> Iterator[Path]:
        """Users at the gateway for as long as the block runs. Gives the ledger of what they were told."""
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
        self.tell(f"\n=== users come: {requests} requests a second, half of them writes")
        process = subprocess.Popen([*words, "--gateway-requests", str(requests)], stdout=subprocess.DEVNULL)
        try:
            yield ledger
        finally:
            end(psutil.Process(process.pid))
            process.wait()

    def settle(self, ledger: Path) -> None:
        """Holds what users were told is done against both databases. Raises WentWrong if anything was lost, doubled or
        failed by the runbook."""
        self.tell("\n=== what users were told is done, held against both databases")
        sides = {name: self.endpoints[name] for name in ("laravel_dsn", "task_service_dsn")}
        self.told |= account(**sides, ledger=ledger, fault=self.fault)
        self.tell(table(self.told))
        meant = self.told.get("failed during the fault", 0)
        if not self.told["whole"] or self.told["failed requests"] != meant:
            raise JourneyFailed("users: something was lost, doubled, or failed by the runbook")

    def refuse_failures(self, ledger: Path) -> None:
        """As ``settle``, where one side alone knows what users wrote: raises WentWrong if a request failed."""
        found = availability(read(ledger))
        self.tell(f"users: {found['requests']:,} requests, {found['failed requests']} failed")
        if found["failed requests"]:
            raise JourneyFailed(f"users: {found['failed requests']} requests failed, and no fault was meant")

    def refuse_secrets(self) -> None:
        """Raises WentWrong if a secret stands where others can read it."""
        if self.hunt is None:
            return
        found = self.hunt.found()
        self.tell(f"secrets: {self.hunt.looked_at()}: {'; '.join(found) or 'none found'}")
        if found:
            raise JourneyFailed(f"secrets: {len(found)} found where others can read them")

    def follow(self, most: int) -> str:
        """Types what status says is next until nothing is left, and gives what it said last. Raises WentWrong if that
        takes more commands."""
        for _ in range(most):
            said = self.type(JourneyStep("how far it is, and what comes next", ("status.yml",)))
            following = next((found for line in reversed(said.splitlines()) if (found := _NEXT.search(line))), None)
            if following is None:
                return said
            self.type(JourneyStep("what status says is next", tuple(shlex.split(following[1]))))
        raise JourneyFailed(f"status.yml: after {most} more commands something is still left to type")


def _wrong(step: JourneyStep, code: int, said: str) -> str:
    """What is wrong with how a command went; "" if nothing is."""
    if step.refused:
        return "" if code and "Refused, nothing was changed" in said else "it had to be refused, and was not"
    if code:
        return f"it ended with exit code {code}"
    if step.changes_nothing and not re.search(r"\bchanged=0\b", said):
        return "it changed something, where nothing was left to change"
    return ""


# The steps


def lab_up(tasks: int = 0, dump: str = "") -> JourneyStep:
    """``tasks`` 0: the plan's 150."""
    words = (*(("-e", f"lab_tasks={tasks}") if tasks else ()), *(("-e", f"laravel_dump={dump}") if dump else ()))
    return JourneyStep("the lab comes up, reached as production is", ("lab-up.yml", "-e", "lab_secure=yes", *words))


LAB_DOWN = JourneyStep("the lab goes down", ("lab-down.yml",))
ROLES = JourneyStep("a login for each purpose", ("database-roles.yml",))
PREPARE = JourneyStep("phase 2.1", ("phase-2.1-prepare.yml",))
VERIFY = JourneyStep("phase 2.2, with the rollback test", ("phase-2.2-verify.yml",))
DUAL_WRITE = JourneyStep("phase 2.3, while users write", ("phase-2.3-dual-write.yml",))
WATCH_A_WHILE = JourneyStep(
    "the watch asks the API: no request fails", ("watch.yml", "-e", "watch_seconds=6", "-e", "watch_interval_seconds=2")
)
PROOF = JourneyStep("nothing is on its way any more, and both sides are equal", ("phase-2.2-verify.yml",))
CLEANUP = JourneyStep("phase 2.5, signed", ("phase-2.5-cleanup.yml", "-e", "approve=yes"))


def canary(*weights: int) -> list[JourneyStep]:
    """Under live traffic: weight by weight."""
    return [
        JourneyStep(f"{weight} % of the users", ("phase-2.4-canary.yml", "-e", f"weight={weight}"))
        for weight in weights
    ]


def forced(weight: int) -> JourneyStep:
    """So many users at once, out of order: it takes a reason, and the same gates."""
    words = ("-e", "force=true", "-e", f"reason='{REASON}'")
    return JourneyStep(f"{weight} % at once, forced", (*canary(weight)[0].command, *words))


def fault(kind: str, percent: int = 0) -> JourneyStep:
    """The Task Service's application fails so, or is well again (``none``)."""
    why = f"{percent} % of the Task Service's answers are errors" if percent else "the Task Service is well again"
    words = ("-e", f"lab_fault_percent={percent}") if percent else ()
    return JourneyStep(why, ("lab-fault.yml", "-e", f"lab_fault={kind}", *words))


def again(step: JourneyStep) -> JourneyStep:
    """The same command, which has nothing left to do."""
    return JourneyStep(f"{step.why}, again: there is nothing left to do", step.command, changes_nothing=True)
