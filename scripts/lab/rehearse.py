"""The whole journey, typed for you: each command is printed, run, and must do what the runbook says it does."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PLAYBOOKS = PROJECT / "playbooks"
REPORTS = PROJECT / "reports" / "local"


@dataclass(frozen=True)
class Step:
    """One command of the journey; ``changes_nothing`` says that its recap must count no change."""

    why: str
    command: tuple[str, ...]
    changes_nothing: bool = False


def journey(tasks: int) -> list[Step]:
    """The commands between lab-up and lab-down, in order: forward, back, forward."""
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


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/rehearse", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab up at the end")
    parser.add_argument("--tasks", type=int, default=0, help="how many tasks Laravel holds (default: the plan's 150)")
    asked = parser.parse_args(words)
    began = time.monotonic()
    for step in journey(asked.tasks):
        if wrong := run(step):
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
    elif wrong := run(Step("the lab goes down", ("lab-down.yml",))):
        print(f"\nThe lab did not go down: {wrong}.", file=sys.stderr)
        return 1
    print(f"\nThe rehearsal is over, all went as the runbook says ({time.monotonic() - began:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
