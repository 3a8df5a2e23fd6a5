"""The whole journey, typed for you: each command is printed, run, and must do what the runbook says it does.

From the dual write on, users come through the gateway all the time: what they were told is done is held against both
databases at the end. Once the Task Service is made to fail while a quarter of them is there, and the watch must bring
them home by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).resolve().parents[2]
PLAYBOOKS = PROJECT / "playbooks"
REPORTS = PROJECT / "reports" / "local"
ENDPOINTS = PROJECT / ".lab" / "endpoints.json"
REQUESTS_PER_SECOND = 200
FAULT_PERCENT = 5
WATCH_SECONDS = 5
PATIENCE_SECONDS = 60.0
REASON = "each weight was proven in this rehearsal"


@dataclass(frozen=True)
class Step:
    """One command of the journey; ``changes_nothing`` says that its recap must count no change."""

    why: str
    command: tuple[str, ...]
    changes_nothing: bool = False


def preparation(tasks: int) -> list[Step]:
    """Up to the proof that both sides are equal: forward, back, forward."""
    prepare, verify = "phase-2.1-prepare.yml", "phase-2.2-verify.yml"
    return [
        Step("the lab comes up", ("lab-up.yml", *(("-e", f"lab_tasks={tasks}") if tasks else ()))),
        Step("phase 2.1 says what it would do", (prepare, "--check")),
        Step("phase 2.1", (prepare,)),
        Step("phase 2.1 again: there is nothing left to do", (prepare,), changes_nothing=True),
        Step("phase 2.2, with the rollback test", (verify,)),
        Step("the way back", ("rollback-2.1.yml",)),
        Step("phase 2.1, once more", (prepare,)),
        Step("phase 2.2, once more", (verify,)),
    ]


def dual_write() -> list[Step]:
    """Under live traffic: forward, back, forward."""
    dual, back = "phase-2.3-dual-write.yml", "rollback-2.3.yml"
    return [
        Step("phase 2.3 says what it would do", (dual, "--check")),
        Step("phase 2.3, while users write", (dual,)),
        Step("the way back, while users write", (back,)),
        Step("phase 2.3, once more: what was written meanwhile is caught up with", (dual,)),
    ]


def canary(*weights: int) -> list[Step]:
    """Under live traffic: weight by weight."""
    return [Step(f"{weight} % of the users", ("phase-2.4-canary.yml", "-e", f"weight={weight}")) for weight in weights]


def there_and_back() -> list[Step]:
    """Under live traffic: all the way, and back from its end."""
    again = Step("100 % again: there is nothing left to do", canary(100)[0].command, changes_nothing=True)
    return [*canary(5, 25, 50, 100), again, Step("the way back, from the end", ("rollback-2.4.yml",))]


def forced(weight: int) -> Step:
    """So many users at once, out of order: it takes a reason, and the same gates."""
    return Step(
        f"{weight} % at once, forced", (*canary(weight)[0].command, "-e", "force=true", "-e", f"reason='{REASON}'")
    )


def proof() -> list[Step]:
    """After the last user has gone."""
    return [
        Step("nothing is on its way any more, and both sides are equal", ("phase-2.2-verify.yml",)),
        Step("how fast changes crossed", ("sync-report.yml",)),
        Step("the checklist", ("status.yml",)),
        Step("the migration on one page", ("report.yml",)),
    ]


def run(step: Step) -> str | None:
    """Runs one command as an operator does. What is wrong with how it went; None if nothing is."""
    words = ["ansible-playbook", *step.command]
    print(f"\n=== {step.why}\n$ cd playbooks && {shlex.join(words)}", flush=True)
    began = time.monotonic()
    changed: int | None = None
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, cwd=PLAYBOOKS, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if recap := re.search(r"\bok=\d+ +changed=(\d+)", line):
                changed = int(recap[1])
    print(f"({time.monotonic() - began:.1f} s)", flush=True)
    if process.returncode != 0:
        return f"it ended with exit code {process.returncode}"
    if step.changes_nothing and changed != 0:
        return f"it says changed={changed}, where nothing was left to change"
    return None


@contextmanager
def users(ledger: Path) -> Iterator[None]:
    """Users at the gateway for as long as the block runs."""
    words = [sys.executable, "-m", "lab.traffic", "--endpoints", str(ENDPOINTS), "--ledger", str(ledger)]
    print(f"\n=== users come: {REQUESTS_PER_SECOND} requests a second, half of them writes", flush=True)
    process = subprocess.Popen([*words, "--gateway-requests", str(REQUESTS_PER_SECOND)])
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait()


@dataclass
class Breach:
    """When the Task Service began to fail, when the last request was sent to it, and when it was well again, in seconds
    since 1970."""

    began: float = 0.0
    home: float = 0.0
    over: float = 0.0

    @property
    def seconds(self) -> float:
        return self.home - self.began


def breach(found: Breach) -> tuple[Step, str] | None:
    """The Task Service fails while the watch looks, which must bring every user home. None if it does, else why not."""
    share = str(FAULT_PERCENT)
    fail = Step(
        f"{share} % of its answers are errors",
        ("lab-fault.yml", "-e", "lab_fault=errors", "-e", f"lab_fault_percent={share}"),
    )
    well = Step("the Task Service is well again", ("lab-fault.yml", "-e", "lab_fault=none"))
    watch = Step("the watch", ("watch.yml", "-e", f"watch_interval_seconds={WATCH_SECONDS}"))
    told = json.loads(ENDPOINTS.read_text(encoding="utf-8"))
    looking = threading.Thread(target=_time, args=(told, found), daemon=True)
    watching: list[str | None] = []
    running = threading.Thread(target=lambda: watching.append(run(watch)))
    running.start()
    time.sleep(WATCH_SECONDS)
    looking.start()
    wrong = run(fail)
    if wrong is not None:
        return fail, wrong
    running.join()
    looking.join(PATIENCE_SECONDS)
    if watching == [None] or not found.home:
        return watch, "it ended well, or users are still at the Task Service, where it had to bring them home and fail"
    wrong = run(well)
    found.over = time.time()
    return (well, wrong) if wrong is not None else None


def _time(told: dict[str, Any], found: Breach) -> None:
    """Looks ten times a second when the fault is on, and when the gateway sends nobody there any more."""
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    with httpx.Client(trust_env=False, timeout=5) as client:
        while not found.home and time.monotonic() < deadline:
            if not found.began and client.get(f"{told['task_service_url']}/lab/faults").json()["error_rate"]:
                found.began = time.time()
            elif found.began and _is_laravels(client.get(f"{told['gateway_url']}/lab/gateway").json(), told):
                found.home = time.time()
            time.sleep(0.1)


def _is_laravels(settings: dict[str, Any], told: dict[str, Any]) -> bool:
    """Whether every request goes to Laravel, by what is in force at the gateway."""
    return told["laravel_upstream"] in settings["variables"].values() and not settings["percent"]


def journey(tasks: int, ledger: Path) -> tuple[Step, str] | None:
    """All of it. The step that went wrong, and how; None if none did."""
    found = Breach()
    wrong = _each(preparation(tasks)) or _under_traffic(found, ledger) or _each(proof())
    if wrong is not None:
        return wrong
    words = [sys.executable, "-m", "lab.traffic", "check", "--endpoints", str(ENDPOINTS), "--ledger", str(ledger)]
    print("\n=== what users were told is done, held against both databases", flush=True)
    when = ("--fault-from", str(found.began), "--fault-to", str(found.over))
    checked = subprocess.run([*words, *when], check=False)
    print(f"from the breach until every user was back in Laravel: {found.seconds:.1f} s")
    if checked.returncode != 0:
        return Step(
            "", ("the account of the users' requests",)
        ), "something was lost, doubled, or failed by the runbook"
    return None


def _under_traffic(found: Breach, ledger: Path) -> tuple[Step, str] | None:
    with users(ledger):
        before = [*dual_write(), *there_and_back(), forced(25)]
        return _each(before) or breach(found) or _each([forced(100)])


def _each(steps: Sequence[Step]) -> tuple[Step, str] | None:
    for step in steps:
        if wrong := run(step):
            return step, wrong
    return None


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/rehearse", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab up at the end")
    parser.add_argument("--tasks", type=int, default=0, help="how many tasks Laravel holds (default: the plan's 150)")
    asked = parser.parse_args(words)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="task-migration-rehearsal-") as directory:
        stopped = journey(asked.tasks, Path(directory) / "ledger.jsonl")
    if stopped is not None:
        step, wrong = stopped
        print(
            f"\nThe rehearsal stopped at {step.command[0]}: {wrong}.\n"
            "The lab is left up, to look at; ansible-playbook lab-down.yml takes it down.",
            file=sys.stderr,
        )
        return 1
    reports = "\n".join(f"  {file.relative_to(PROJECT)}" for file in sorted(REPORTS.rglob("*")) if file.is_file())
    print(f"\nThe reports:\n{reports}")
    if asked.keep:
        print(
            "The lab stays up: cd playbooks, and type any of the commands above. ansible-playbook lab-down.yml ends it."
        )
    elif failed := run(Step("the lab goes down", ("lab-down.yml",))):
        print(f"\nThe lab did not go down: {failed}.", file=sys.stderr)
        return 1
    print(f"\nThe rehearsal is over, all went as the runbook says ({time.monotonic() - began:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
