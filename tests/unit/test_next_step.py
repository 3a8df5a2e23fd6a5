"""What to type next, for every state that a migration can be in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from task_migration.control import checklist
from task_migration.control.consistency_history import Check
from task_migration.control.journal import JournalEntry, Verdict
from task_migration.control.sync_switch import Position
from task_migration.report.migration_state import LaravelState, MigrationState, TaskServiceState, migration_state
from task_migration.report.next_step import NextStep, next_step

NOW = datetime(2026, 1, 12, 3, 0, tzinfo=UTC)
DIGEST = "1f3a5b7c9d0e" + "0" * 52
COPIED = TaskServiceState(copied=True, schema_fingerprint="as it is")
COMPARISONS = {
    "counts": {"laravel": 148, "task_service": 146, "quarantined": 2, "equal": True},
    "sample": {"rows": 10, "equal": 10},
    "tags": {"tasks": 146, "equal": 146},
}
GREEN = Verdict(1, NOW - timedelta(hours=1), True, "as it is", {"comparisons": COMPARISONS, "quarantine": []})
DIFFERENT = {"passed": False, "tables": {"tasks": {"missing": 1, "extra": 0, "different": 0}}, "quarantine": []}
UNSIGNED = {
    "passed": False,
    "tables": {"tasks": {"missing": 0, "extra": 0, "different": 0}},
    "quarantine": [{"kind": "owner_unmapped", "count": 2, "signed_off": None}],
}

PREPARED = ["2.1 phase started", "2.1 phase done"]
VERIFIED = [*PREPARED, "2.2 phase started", "2.2 rollback_test done", "2.2 phase done"]
DUAL_WRITE = [*VERIFIED, "2.3 phase started", "2.3 phase done", "2.3 error_rate done requests=3000 errors=0"]
CANARY_AT_5 = [*DUAL_WRITE, "2.4 phase started", "2.4 weight_5 done", "2.4 phase done weight=5"]
CANARY_AT_100 = [
    *DUAL_WRITE,
    *(f"2.4 weight_{weight} done" for weight in (5, 25, 50, 100)),
    "2.4 fence done",
    "2.4 phase done weight=100",
]
NO_WAY_BACK = [*CANARY_AT_100, "2.5 phase started", "2.5 no_way_back done"]
CLEANED = [*NO_WAY_BACK, "2.5 laravel_code done", "2.5 completion_report done", "2.5 phase done"]
CONFIRMED = ["2.5 documents done", "2.5 monitoring done"]
PLAN_2_3 = [f"2.3 plan refused digest={DIGEST} by=ada@runner command=ansible-playbook&phase-2.3-dual-write.yml"]

VERIFY = "ansible-playbook phase-2.2-verify.yml"
CANARY = "ansible-playbook phase-2.4-canary.yml"


def entries(lines: Sequence[str]) -> list[JournalEntry]:
    """Journal entries, one a minute, from lines such as "2.4 phase done weight=5"."""
    found = []
    for number, line in enumerate(lines, 1):
        phase, item, result, *evidence = line.split()
        values: dict[str, Any] = {}
        for name, _, value in (one.partition("=") for one in evidence):
            values[name] = int(value) if value.isdigit() and name != "digest" else value.replace("&", " ")
        at = NOW - timedelta(minutes=len(lines) - number + 1)
        found.append(JournalEntry(number, at, "ada", "runner", "ansible-playbook", phase, item, result, values))  # type: ignore[arg-type]
    return found


def approved(lines: Sequence[str], *, until: datetime) -> list[JournalEntry]:
    """The same entries, and the approval of the plan that is the last of them."""
    found = entries([*lines, "2.3 approval done"])
    evidence = {"digest": DIGEST, "approver": "bob@desk", "until": until.isoformat()}
    return [*found[:-1], replace(found[-1], evidence=evidence)]


def state(
    journal: Sequence[str] | Sequence[JournalEntry] = (),
    *,
    task_service: TaskServiceState = COPIED,
    tests: int = 3,
    fenced: bool = False,
    **laravel: Any,
) -> MigrationState:
    """A migration with this journal; without more said, everything that is not in the journal is as it should be."""
    lines = [one for one in journal if isinstance(one, str)]
    facts: dict[str, Any] = {
        "entries": entries(lines) if lines else list(journal),
        "verdict": GREEN,
        "switches": {"sync_forward": Position(True, NOW, "ada")},
        "consistency": Check(NOW, True, 0.2, 0, 0, {}, 60.0),
        "fenced_since": "02:00" if fenced else None,
        **laravel,
    }
    return migration_state(
        LaravelState(NOW, **facts),
        task_service,
        [checklist.MigrationTest(f"copy {number}", NOW, "ada", "runner", 146) for number in range(tests)],
        verdict_max_age_hours=24,
        consistency_every_seconds=3600,
        canary_confidence_percent=95,
    )


def red(summary: dict[str, Any]) -> Verdict:
    return replace(GREEN, passed=False, summary=summary)


CASES: dict[str, tuple[MigrationState, str, str]] = {
    # the phases, in order
    "nothing was done": (
        state(task_service=TaskServiceState(trouble="not created yet"), verdict=None, tests=0),
        "ansible-playbook phase-2.1-prepare.yml",
        "phase 2.1, prepare",
    ),
    "2.1 interrupted": (state(PREPARED[:1]), "ansible-playbook phase-2.1-prepare.yml", "where it stopped"),
    "2.1 failed": (state(["2.1 phase failed"]), "ansible-playbook phase-2.1-prepare.yml", "where it stopped"),
    "2.1 done": (state(PREPARED, verdict=None), VERIFY, "phase 2.2, verify"),
    "2.2 done": (state(VERIFIED), "ansible-playbook phase-2.3-dual-write.yml", "phase 2.3, dual write"),
    "2.2 refused again": (
        state([*VERIFIED, "2.2 phase started", "2.2 phase refused"]),
        "ansible-playbook phase-2.3-dual-write.yml",
        "phase 2.3, dual write",
    ),
    "2.3 interrupted": (
        state([*VERIFIED, "2.3 phase started"]),
        "ansible-playbook phase-2.3-dual-write.yml",
        "where it stopped",
    ),
    "2.3 done": (state(DUAL_WRITE), f"{CANARY} -e weight=5", "phase 2.4, canary"),
    "2.4 at 5": (state(CANARY_AT_5), f"{CANARY} -e weight=25", "the next step of phase 2.4, canary"),
    "2.4 failed on the way to 25": (
        state([*CANARY_AT_5, "2.4 phase started", "2.4 phase failed weight=25"]),
        f"{CANARY} -e weight=25",
        "where it stopped",
    ),
    "2.4 at 100": (state(CANARY_AT_100, fenced=True), "ansible-playbook phase-2.5-cleanup.yml", "phase 2.5"),
    # what a phase needs before it
    "the copy is gone": (
        state(VERIFIED, task_service=TaskServiceState(trouble="cannot be reached")),
        "ansible-playbook phase-2.1-prepare.yml",
        "no complete copy",
    ),
    "too few migration tests before the canary": (
        state(DUAL_WRITE, tests=2),
        "ansible-playbook rehearse.yml -e times=3",
        "open: Three migration tests succeeded",
    ),
    "too few requests before the canary": (
        state(DUAL_WRITE[:-1]),
        "ansible-playbook watch.yml",
        "open: The error rate is below 0.1 %",
    ),
    "an open item does not hold a canary that has started": (state(CANARY_AT_5, tests=2), f"{CANARY} -e weight=25", ""),
    "the fence is gone before the cleanup": (
        state(CANARY_AT_100),
        f"{CANARY} -e weight=100",
        "open: Laravel's writes to tasks are stopped",
    ),
    # the verdict
    "a stale verdict before the dual write": (
        state(VERIFIED, verdict=replace(GREEN, at=NOW - timedelta(hours=30))),
        VERIFY,
        "allowed: 24 h",
    ),
    "a stale verdict before the cleanup": (
        state(CANARY_AT_100, fenced=True, verdict=replace(GREEN, at=NOW - timedelta(hours=30))),
        VERIFY,
        "allowed: 24 h",
    ),
    "a table altered since the verdict": (
        state(VERIFIED, task_service=replace(COPIED, schema_fingerprint="altered")),
        VERIFY,
        "a table was altered",
    ),
    "rows that differ": (
        state([*PREPARED, "2.2 phase failed"], verdict=red(DIFFERENT)),
        "ansible-playbook reconcile.yml",
        "1 row",
    ),
    "a red verdict after a green one": (
        state(VERIFIED, verdict=red(DIFFERENT)),
        "ansible-playbook reconcile.yml",
        "1 row",
    ),
    "a quarantine that no one signed off": (
        state([*PREPARED, "2.2 phase failed"], verdict=red(UNSIGNED)),
        VERIFY,
        "owner_unmapped",
    ),
    # plans that need two people
    "a plan waits for its approval": (
        state([*VERIFIED, *PLAN_2_3]),
        f"ansible-playbook approve.yml -e plan={DIGEST[:12]}",
        "then ansible-playbook phase-2.3-dual-write.yml",
    ),
    "a plan is approved": (
        state(approved([*VERIFIED, *PLAN_2_3], until=NOW + timedelta(hours=1))),
        "ansible-playbook phase-2.3-dual-write.yml",
        "approved by bob@desk",
    ),
    "an approval has expired": (
        state(approved([*VERIFIED, *PLAN_2_3], until=NOW - timedelta(seconds=1))),
        f"ansible-playbook approve.yml -e plan={DIGEST[:12]}",
        "",
    ),
    "a plan was started": (
        state([*VERIFIED, *PLAN_2_3, "2.3 phase started"]),
        "ansible-playbook phase-2.3-dual-write.yml",
        "where it stopped",
    ),
    "a plan is void after a red verdict": (
        state([*VERIFIED, *PLAN_2_3], verdict=red(DIFFERENT)),
        "ansible-playbook reconcile.yml",
        "1 row",
    ),
    # rollbacks
    "a rollback was interrupted": (
        state([*CANARY_AT_5, "rollback-2.4 phase started"]),
        "ansible-playbook rollback-2.4.yml",
        "rollback",
    ),
    "a rollback failed": (
        state([*DUAL_WRITE, "rollback-2.3 phase started", "rollback-2.3 phase failed"]),
        "ansible-playbook rollback-2.3.yml",
        "rollback",
    ),
    "a rollback is done": (
        state([*CANARY_AT_5, "rollback-2.4 phase started", "rollback-2.4 phase done"]),
        f"{CANARY} -e weight=5",
        "phase 2.4, canary",
    ),
    "a phase was started again after a rollback that failed": (
        state([*DUAL_WRITE, "rollback-2.3 phase started", "rollback-2.3 phase failed", "2.3 phase started"]),
        "ansible-playbook phase-2.3-dual-write.yml",
        "where it stopped",
    ),
    # the point of no return
    "past the point of no return": (
        state(NO_WAY_BACK, fenced=True),
        "ansible-playbook phase-2.5-cleanup.yml",
        "where it stopped",
    ),
    "past the point of no return nothing else counts": (
        state(NO_WAY_BACK, task_service=TaskServiceState(trouble="away"), verdict=red(DIFFERENT), tests=0),
        "ansible-playbook phase-2.5-cleanup.yml",
        "where it stopped",
    ),
    "the cleanup is done but for what a person confirms": (
        state(CLEANED, verdict=None),
        "ansible-playbook phase-2.5-cleanup.yml -e confirm=documents",
        "open: The documentation is up to date",
    ),
    "the migration is complete": (state([*CLEANED, *CONFIRMED], verdict=None), "", "nothing is left to do"),
    # a command that is running
    "a command is running": (
        state(PREPARED[:1], holder="phase-2.1-prepare", holder_who="ada@runner"),
        "ansible-playbook status.yml",
        "phase-2.1-prepare is running, started by ada@runner",
    ),
    "a rollback is running": (
        state([*CANARY_AT_5, "rollback-2.4 phase started"], holder="rollback-2.4", holder_who="ada@runner"),
        "ansible-playbook status.yml",
        "rollback-2.4 is running, started by ada@runner",
    ),
    "a command whose end is in the journal asks for the status": (
        state(PREPARED, verdict=None, holder="phase-2.1-prepare", holder_who="ada@runner"),
        VERIFY,
        "phase 2.2, verify",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_to_type_next(case: str) -> None:
    given, command, why = CASES[case]
    step = next_step(given)
    assert step.command == command
    assert why in step.why


def test_a_step_is_one_line_with_its_reason() -> None:
    assert str(NextStep("ansible-playbook status.yml", "check again")) == "ansible-playbook status.yml (check again)"
    assert str(NextStep("", "nothing is left to do")) == "nothing is left to do"
