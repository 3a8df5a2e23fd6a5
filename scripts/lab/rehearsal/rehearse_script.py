"""The whole journey, typed for you: each command is printed, run, and must do what the runbook says it does.

From the dual write on, users come through the gateway all the time: what they were told is done is held against both
databases. Once the Task Service is made to fail while a quarter of them is there, and the watch must bring them home by
itself. It ends where the migration ends: with every item of the checklist, and Laravel's task code on a branch to look
at.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time

from lab.locations import Locations
from lab.rehearsal import journey
from lab.rehearsal.journey import (
    CLEANUP,
    DUAL_WRITE,
    LAB_DOWN,
    PREPARE,
    PROJECT,
    PROOF,
    VERIFY,
    Journey,
    JourneyStep,
    again,
    canary,
)
from lab.rehearsal.planned_faults import breach
from lab.rehearsal.secret_scan import SecretScan

LAB = PROJECT / ".lab"
REPORT = PROJECT / "reports" / "local" / "migration-latest.en.html"


def travel(trip: Journey, tasks: int) -> None:
    """All of it: forward, back and forward again. Raises WentWrong."""
    without_test = (*VERIFY.command, "-e", "rollback_test=false")
    trip.go(
        journey.lab_up(tasks),
        journey.ROLES,
        again(journey.ROLES),
        JourneyStep("phase 2.1 says what it would do", (*PREPARE.command, "--check")),
        PREPARE,
        again(PREPARE),
        JourneyStep("phase 2.2", without_test),
        JourneyStep("the way back", ("rollback-2.1.yml",)),
        PREPARE,
        VERIFY,
    )
    with trip.users() as ledger:
        trip.go(
            DUAL_WRITE,
            journey.forced(100),
            JourneyStep("the way back, from the end", ("rollback-2.4.yml",)),
            *canary(5, 25),
        )
        trip.fault = breach(trip)
        trip.go(
            JourneyStep("the way back, while users write", ("rollback-2.3.yml",)),
            JourneyStep("phase 2.3, once more: what was written meanwhile is caught up with", DUAL_WRITE.command),
            journey.WATCH_A_WHILE,
            *canary(5, 25, 50, 100),
            again(canary(100)[0]),
        )
    trip.go(PROOF)
    trip.settle(ledger)
    with trip.users() as ledger:
        trip.go(
            JourneyStep("how fast changes crossed", ("sync-report.yml",)),
            JourneyStep("phase 2.5, not signed: it shows the report to read", CLEANUP.command[:1], refused=True),
            CLEANUP,
            again(CLEANUP),
        )
    trip.refuse_failures(ledger)
    said = trip.follow(journey.LEFT_TO_CONFIRM)
    if not (counted := re.search(r"(\d+) of (\d+) items checked", said)) or counted[1] != counted[2]:
        raise journey.JourneyFailed(f"status.yml: at the end {counted[0] if counted else 'no item is checked'}")
    _show_branch(trip)
    trip.refuse_secrets()


def _show_branch(trip: Journey) -> None:
    words = ["git", "log", "-1", "--stat", "task-service-cleanup"]
    trip.tell(f"\n=== Laravel's task code, as one commit to look at\n$ cd laravel-code && {' '.join(words)}")
    checkout = Locations(trip.folder).laravel_checkout
    done = subprocess.run([*words], cwd=checkout, capture_output=True, text=True, check=False)
    trip.tell(done.stdout.rstrip() or done.stderr.rstrip())
    if done.returncode:
        raise journey.JourneyFailed("phase-2.5-cleanup.yml: it made no branch in Laravel's checkout")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/rehearse", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab up at the end")
    parser.add_argument("--tasks", type=int, default=0, help="how many tasks Laravel holds (default: the plan's 150)")
    asked = parser.parse_args(words)
    began = time.monotonic()
    hunt = SecretScan(Locations(LAB.resolve()), REPORT.parent)
    trip = Journey(LAB, hunt=hunt)
    try:
        with hunt:
            travel(trip, asked.tasks)
        if asked.keep:
            print("\nThe lab stays up, at the end of its migration: ansible-playbook lab-down.yml takes it down.")
        else:
            trip.go(LAB_DOWN)
    except journey.JourneyFailed as wrong:
        print(
            f"\nThe rehearsal stopped at {wrong}.\n"
            "The lab is left up, to look at; ansible-playbook lab-down.yml takes it down.",
            file=sys.stderr,
        )
        return 1
    print(f"\nThe rehearsal is over, all went as the runbook says ({time.monotonic() - began:.0f} s).")
    print(f"The migration on one page: {REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
