"""Runs the whole journey: prints each command, runs it, and checks that it does what the runbook says.

From the dual write on, users write through the gateway all the time. Every acknowledged write is looked up in both
databases. Once, at 25 % of the traffic, the Task Service is made to fail: the watch must roll back automatically. The
journey ends where the migration ends: every item of the checklist is checked, and Laravel's task code is removed on a
branch for review.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time

from task_migration.traffic.weight import WEIGHTS

from lab.locations import Locations
from lab.rehearsal.journey import (
    CLEANUP,
    DUAL_WRITE,
    LAB_DOWN,
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
    again,
    canary,
    forced,
    lab_up,
)
from lab.rehearsal.planned_faults import breach
from lab.rehearsal.secret_scan import SecretScan

LAB = PROJECT / ".lab"
REPORT = PROJECT / "reports" / "local" / "migration-latest.en.html"


def run_journey(journey: Journey, tasks: int) -> None:
    """Runs the journey forward, back and forward again. Raises JourneyFailed."""
    without_test = (*VERIFY.command, "-e", "rollback_test=false")
    journey.run(
        lab_up(tasks),
        ROLES,
        again(ROLES),
        JourneyStep("phase 2.1 in check mode", (*PREPARE.command, "--check")),
        PREPARE,
        again(PREPARE),
        JourneyStep("phase 2.2", without_test),
        JourneyStep("rollback of phase 2.1", ("rollback-2.1.yml",)),
        PREPARE,
        VERIFY,
    )
    with journey.traffic() as ledger:
        journey.run(
            DUAL_WRITE,
            forced(100),
            JourneyStep("rollback of phase 2.4 from 100 %", ("rollback-2.4.yml",)),
            *canary(5, 25),
        )
        journey.fault_period = breach(journey)
        journey.run(
            JourneyStep("rollback of phase 2.3, while users write", ("rollback-2.3.yml",)),
            JourneyStep("phase 2.3 again: it catches up with what was written in the meantime", DUAL_WRITE.command),
            SHORT_WATCH,
            *canary(*WEIGHTS[1:]),
            again(canary(100)[0]),
        )
    journey.run(PROOF)
    journey.check_writes(ledger)
    with journey.traffic() as ledger:
        journey.run(
            JourneyStep("the latency of the sync", ("sync-report.yml",)),
            JourneyStep(
                "phase 2.5 without the signature: it is refused",
                CLEANUP.command[:1],
                refused=True,
            ),
            CLEANUP,
            again(CLEANUP),
        )
    journey.check_availability(ledger)
    output = journey.follow_next_steps(MOST_REMAINING_COMMANDS)
    if not (counted := re.search(r"(\d+) of (\d+) items", output)) or counted[1] != counted[2]:
        raise JourneyFailed(f"status.yml: {counted[0] if counted else 'no item'} checked at the end")
    _show_branch(journey)
    journey.check_secrets()


def _show_branch(journey: Journey) -> None:
    words = ["git", "log", "-1", "--stat", "task-service-cleanup"]
    journey.print_line(f"\n=== Laravel's task code, removed in one commit\n$ cd laravel-code && {' '.join(words)}")
    checkout = Locations(journey.folder).laravel_checkout
    done = subprocess.run([*words], cwd=checkout, capture_output=True, text=True, check=False)
    journey.print_line(done.stdout.rstrip() or done.stderr.rstrip())
    if done.returncode:
        raise JourneyFailed("phase-2.5-cleanup.yml: there is no branch task-service-cleanup in Laravel's checkout")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/rehearse", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab up at the end")
    parser.add_argument("--tasks", type=int, default=0, help="the number of tasks in Laravel (default: 150)")
    asked = parser.parse_args(words)
    began = time.monotonic()
    scan = SecretScan(Locations(LAB.resolve()), REPORT.parent)
    journey = Journey(LAB, secret_scan=scan)
    try:
        with scan:
            run_journey(journey, asked.tasks)
        if asked.keep:
            print("\nThe lab is still up, at the end of its migration. To take it down: ansible-playbook lab-down.yml")
        else:
            journey.run(LAB_DOWN)
    except JourneyFailed as failure:
        print(
            f"\nThe rehearsal failed: {failure}\n"
            "The lab is still up, for inspection. To take it down: ansible-playbook lab-down.yml",
            file=sys.stderr,
        )
        return 1
    print(f"\nThe rehearsal succeeded: every command did what the runbook says ({time.monotonic() - began:.0f} s).")
    print(f"The migration report: {REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
