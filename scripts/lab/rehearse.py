"""The whole journey, typed for you: each command is printed, run, and must do what the runbook says it does.

From the dual write on, users write all the time: what they were told is done is held against both databases at the end.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PLAYBOOKS = PROJECT / "playbooks"
REPORTS = PROJECT / "reports" / "local"
ENDPOINTS = PROJECT / ".lab" / "endpoints.json"
WRITES_PER_SECOND = 50
READS_PER_SECOND = 20


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
        Step("phase 2.3 again: there is nothing left to do", (dual,), changes_nothing=True),
        Step("the way back, while users write", (back,)),
        Step("the way back again: there is nothing left to do", (back,), changes_nothing=True),
        Step("phase 2.3, once more: what was written meanwhile is caught up with", (dual,)),
    ]


def proof() -> list[Step]:
    """After the last user has gone."""
    return [
        Step("nothing is on its way any more, and both sides are equal", ("phase-2.2-verify.yml",)),
        Step("how fast changes crossed", ("sync-report.yml",)),
        Step("the checklist", ("status.yml",)),
    ]


def run(step: Step) -> str | None:
    """Runs one command as an operator does. What is wrong with how it went; None if nothing is."""
    words = ["ansible-playbook", *step.command]
    print(f"\n=== {step.why}\n$ cd playbooks && {' '.join(words)}", flush=True)
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
    """Users who write in Laravel's application for as long as the block runs."""
    words = [
        sys.executable, "-m", "lab.traffic", "--endpoints", str(ENDPOINTS), "--ledger", str(ledger),
        "--laravel-writes", str(WRITES_PER_SECOND), "--reads", str(READS_PER_SECOND),
    ]  # fmt: skip
    print(f"\n=== users come: {WRITES_PER_SECOND} writes and {READS_PER_SECOND} reads a second", flush=True)
    process = subprocess.Popen(words)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait()


def journey(tasks: int, ledger: Path) -> tuple[Step, str] | None:
    """All of it. The step that went wrong, and how; None if none did."""
    for part in (preparation(tasks), dual_write(), proof()):
        wrong = _under_traffic(part, ledger) if part[0].command[0].startswith("phase-2.3") else _each(part)
        if wrong is not None:
            return wrong
    words = [sys.executable, "-m", "lab.traffic", "check", "--endpoints", str(ENDPOINTS), "--ledger", str(ledger)]
    print("\n=== what users were told is done, held against both databases", flush=True)
    if subprocess.run(words, check=False).returncode != 0:
        return Step("", ("the account of the users' writes",)), "writes were lost, doubled or resurrected"
    return None


def _under_traffic(steps: Sequence[Step], ledger: Path) -> tuple[Step, str] | None:
    with users(ledger):
        return _each(steps)


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
