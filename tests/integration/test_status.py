"""Status, on real databases: it tells the truth from the first minute on, and touches nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from by_options import call
from task_migration.control import consistency_history, journal, migration_tests, operator_lock
from task_migration.control.sync_switch import sync_switch
from task_migration.errors import Failed, Refused
from task_migration.postgres import database, schema_drift
from task_migration.prepare import user_mapping
from task_migration.report.status import status
from task_migration.sync import capture, fence

NOWHERE = "host=127.0.0.1 port=1 dbname=task_service user=task_service_admin"
GREEN = {
    "passed": True,
    "reasons": [],
    "tables": {"tasks": {"task_service_rows": 146}},
    "differences": [],
    "quarantine": [],
    "comparisons": {
        "counts": {"laravel": 148, "task_service": 146, "quarantined": 2, "equal": True},
        "sample": {"rows": 10, "equal": 10},
        "tags": {"tasks": 146, "equal": 146},
    },
}


class World:
    """Both databases and the reports, and what the phases would have written down there."""

    def __init__(self, laravel, task_service, reports):
        self.laravel, self.task_service, self.reports = laravel, task_service, reports

    def status(self, phases=(), laravel_dsn=None, task_service_dsn=None, **more):
        dsn = self.task_service.dsn if task_service_dsn is None else task_service_dsn
        return call(
            status,
            laravel_dsn=laravel_dsn or self.laravel.dsn,
            task_service_dsn=dsn,
            phases=list(phases),
            report_directory=str(self.reports),
            aws_region="ap-northeast-1",
            laravel_timezone="Asia/Tokyo",
            **more,
        )

    def write(self, phase, result, item="phase", **evidence):
        journal.journal(laravel_dsn=self.laravel.dsn, phase=phase, item=item, result=result, evidence=evidence)

    def copy(self):
        """A ledger that says the copy is complete."""
        with psycopg.connect(self.task_service.dsn) as session:
            session.execute(
                "CREATE SCHEMA task_migration;"
                "CREATE TABLE task_migration.deferred_ddl (id int);"
                "CREATE TABLE task_migration.copy_chunk (state text, copied_at timestamptz);"
                "INSERT INTO task_migration.copy_chunk VALUES ('copied', now())"
            )

    def verdict(self, **changes):
        here, there = database.laravel(self.laravel.dsn), database.task_service(self.task_service.dsn)
        with database.connect(here, "test") as origin, database.connect(there, "test") as destination:
            fingerprint = schema_drift.schema_fingerprint(origin, destination)
            journal.keep_verdict(origin, {**GREEN, "schema_fingerprint": fingerprint, **changes})

    def prepared(self):
        self.copy()
        self.write("2.1", "started")
        self.write("2.1", "done", tables={"tasks": {"expected": 148, "copied": 146}})

    def verified(self):
        self.prepared()
        self.write("2.2", "started")
        self.verdict()
        self.write("2.2", "done", item="rollback_test")
        self.write("2.2", "done")

    def dual_write(self, passed=True, **details):
        """What phase 2.3 leaves behind: the switch on, a consistency check, its entries."""
        sync_switch(laravel_dsn=self.laravel.dsn, name="sync_forward", state="on", reason="phase 2.3")
        self.write("2.3", "started")
        self.write("2.3", "done")
        found = {"seconds": 0.2, "differences": 0, "keys": [], "change_log_length": 0, "alerted": False}
        with database.connect(database.laravel(self.laravel.dsn), "test") as connection:
            consistency_history.keep(connection, passed=passed, **{**found, "details": {}, **details})

    def canary(self, weight):
        self.write("2.4", "started", weight=weight)
        self.write("2.4", "done", item=f"weight_{weight}", requests=3000, errors=0)
        self.write("2.4", "done", weight=weight)

    def tested(self, times=3):
        for number in range(times):
            at = datetime.now(UTC) + timedelta(minutes=number)
            migration_tests.record(self.reports, copied_at=at, details={**GREEN, "schema_fingerprint": "it"})


@pytest.fixture
def world(laravel_database, task_service_database, tmp_path):
    return World(laravel_database(), task_service_database(), tmp_path / "reports")


def things(*dsns):
    found = []
    for dsn in dsns:
        with psycopg.connect(dsn) as session:
            found += session.execute(
                "SELECT relnamespace::regnamespace::text, relname FROM pg_class UNION ALL"
                " SELECT 'schema', nspname FROM pg_namespace ORDER BY 1, 2"
            ).fetchall()
    return found


def next_of(outcome):
    return outcome.details["next"]["command"]


def test_on_a_database_with_nothing_of_ours_every_item_is_open_and_nothing_is_made(world):
    before = things(world.laravel.dsn, world.task_service.dsn)
    outcome = world.status()
    assert not outcome.changed
    assert outcome.message == (
        "phase 2.1: not started, phase 2.2: not started, phase 2.3: not started, phase 2.4: not started, "
        "phase 2.5: not started; "
        "0 of 22 items checked; next: ansible-playbook phase-2.1-prepare.yml"
    )
    assert sum(line.startswith("  [ ] ") for line in outcome.lines) == 22
    assert "Verdict: nothing has been verified yet" in outcome.lines
    assert "Change log: none" in outcome.lines
    assert things(world.laravel.dsn, world.task_service.dsn) == before
    assert not world.reports.exists()


@pytest.mark.parametrize("dsn", ["", NOWHERE])
def test_a_task_service_that_is_not_there_is_told_and_stops_nothing(world, dsn):
    outcome = world.status(task_service_dsn=dsn)
    (line,) = (line for line in outcome.lines if line.startswith("Task Service's database:"))
    assert ("not created yet" if not dsn else "cannot be reached") in line
    assert next_of(outcome) == "ansible-playbook phase-2.1-prepare.yml"


def test_a_laravel_that_cannot_be_asked_is_refused_in_one_line(world):
    with pytest.raises(Refused, match=r"Laravel's database .* cannot be reached"):
        world.status(laravel_dsn=NOWHERE)


def test_a_phase_that_does_not_exist_is_refused(world):
    with pytest.raises(Refused, match=r"measured: 2\.7; allowed: 2\.1, 2\.2, 2\.3"):
        world.status(["2.7"])


def test_details_are_json_and_hold_what_the_lines_say(world):
    world.verified()
    outcome = world.status(["2.2"])
    details = json.loads(json.dumps(outcome.details))
    (phase,) = details["phases"]
    assert (phase["phase"], phase["state"]) == ("2.2", "done")
    assert all(item["done"] and item["who"] and item["at"] for item in phase["items"])
    assert details["verdict"]["stale_because"] is None


def test_an_interrupted_phase_is_gone_on_with(world):
    world.write("2.1", "started")
    outcome = world.status()
    assert outcome.message.startswith("phase 2.1: interrupted")
    assert any("interrupted; started" in line for line in outcome.lines)
    assert outcome.lines[-1] == "Next: ansible-playbook phase-2.1-prepare.yml (continues where it stopped)"


def test_a_failed_phase_says_its_cause(world):
    world.write("2.1", "failed", cause="Failed: no disk space left")
    assert any("failed" in line and "no disk space left" in line for line in world.status().lines)


def test_after_preparing_comes_verifying(world):
    world.prepared()
    outcome = world.status()
    assert next_of(outcome) == "ansible-playbook phase-2.2-verify.yml"
    assert outcome.lines[0].endswith(": expected 148, copied 146")


def test_a_copy_that_is_gone_again_must_be_made_again_whatever_the_journal_says(world):
    world.verified()
    world.tested()
    outcome = world.status(task_service_dsn=NOWHERE)
    assert next_of(outcome) == "ansible-playbook phase-2.1-prepare.yml"


def test_after_verifying_comes_the_dual_write_and_after_every_item_phase_2_4(world):
    world.verified()
    world.tested()
    outcome = world.status()
    assert "9 of 22 items checked; next: ansible-playbook phase-2.3-dual-write.yml" in outcome.message
    world.dual_write()
    outcome = world.status()
    assert "12 of 22 items checked; next: ansible-playbook watch.yml" in outcome.message
    assert any(line.startswith("Switch sync_forward: on since") for line in outcome.lines)
    assert any(line.startswith("Consistency: passed, ") for line in outcome.lines)
    world.write("2.3", "done", item="error_rate", requests=3000, errors=0)
    outcome = world.status()
    assert "13 of 22 items checked; next: ansible-playbook phase-2.4-canary.yml -e weight=5" in outcome.message


def test_a_canary_goes_on_weight_by_weight_and_after_its_failure_from_where_it_was(world):
    world.verified()
    world.tested()
    world.dual_write()
    world.canary(5)
    assert next_of(world.status()) == "ansible-playbook phase-2.4-canary.yml -e weight=25"
    world.write("2.4", "started", weight=25)
    world.write("2.4", "failed", weight=25, cause="the gate is red")
    outcome = world.status(phases=["2.4"])
    assert outcome.message.startswith("phase 2.4: failed; 1 of 5 items checked")
    assert next_of(outcome) == "ansible-playbook phase-2.4-canary.yml -e weight=25"
    world.write("rollback-2.4", "started")
    assert next_of(world.status()) == "ansible-playbook rollback-2.4.yml"
    world.write("rollback-2.4", "done")
    assert world.status(phases=["2.4"]).details["phases"][-1]["state"] == "not started"


def test_after_the_canary_comes_the_clean_up_and_from_its_point_of_no_return_only_that(world):
    world.verified()
    world.tested()
    world.dual_write()
    world.write("2.3", "done", item="error_rate", requests=3000, errors=0)
    for weight in (5, 25, 50, 100):
        world.canary(weight)
    world.write("2.4", "done", item="fence")
    user_mapping.user_mapping(laravel_dsn=world.laravel.dsn, check=False)
    capture.capture(laravel_dsn=world.laravel.dsn, check=False)
    fence.fence(laravel_dsn=world.laravel.dsn, check=False)
    capture.capture(laravel_dsn=world.laravel.dsn, state="absent", check=False)
    world.write("2.4", "done", weight=100)
    assert next_of(world.status()) == "ansible-playbook phase-2.5-cleanup.yml"
    world.write("2.5", "started")
    world.write("2.5", "done", item="no_way_back")
    sync_switch(laravel_dsn=world.laravel.dsn, name="sync_forward", state="off")
    with psycopg.connect(world.task_service.dsn) as session:
        session.execute("DROP SCHEMA task_migration CASCADE")
    outcome = world.status(verdict_max_age_hours=1e-6)
    assert outcome.lines[-1] == "Next: ansible-playbook phase-2.5-cleanup.yml (continues where it stopped)"
    assert "Task Service's database: the only one that takes writes to tasks" in outcome.lines
    for item in ("laravel_code", "completion_report"):
        world.write("2.5", "done", item=item)
    world.write("2.5", "done")
    outcome = world.status(verdict_max_age_hours=1e-6)
    assert "20 of 22 items checked" in outcome.message
    assert next_of(outcome) == "ansible-playbook phase-2.5-cleanup.yml -e confirm=documents"
    for item in ("documents", "monitoring"):
        world.write("2.5", "done", item=item)
    outcome = world.status(verdict_max_age_hours=1e-6)
    assert "22 of 22 items checked; next: nothing" in outcome.message
    assert outcome.lines[-1] == "Next: nothing is left to do: the migration is complete"


def test_a_verdict_that_is_too_old_is_made_anew_before_the_dual_write(world):
    world.verified()
    outcome = world.status(verdict_max_age_hours=1e-6)
    assert next_of(outcome) == "ansible-playbook phase-2.2-verify.yml"


def test_a_dual_write_that_was_taken_back_by_itself_says_why_and_may_be_begun_again(world):
    world.verified()
    world.dual_write()
    world.write("rollback-2.3", "started", trigger="error rate: 50 %")
    assert next_of(world.status()) == "ansible-playbook rollback-2.3.yml"
    world.write("rollback-2.3", "done", trigger="error rate: 50 %")
    outcome = world.status()
    assert any(line.startswith("Rollback 2.3: done") and "error rate: 50 %" in line for line in outcome.lines)
    assert next_of(outcome) == "ansible-playbook phase-2.3-dual-write.yml"


def test_an_inconsistency_is_told_with_what_to_type(world):
    world.verified()
    world.tested()
    world.dual_write(passed=False, details={"reasons": ["tasks: 1 missing"]})
    outcome = world.status()
    assert any(line.startswith("Consistency: failed: tasks: 1 missing") for line in outcome.lines)
    assert outcome.details["consistency"]["passed"] is False


def test_an_open_item_says_its_own_command(world):
    world.verified()
    world.tested(2)
    world.dual_write()
    assert (
        world.status().lines[-1]
        == "Next: ansible-playbook rehearse.yml -e times=3 (open: Three migration tests succeeded)"
    )


def test_a_table_altered_after_the_verdict_asks_for_a_new_one(world):
    world.verified()
    world.tested()
    with psycopg.connect(world.laravel.owner_dsn) as session:
        session.execute("ALTER TABLE tasks ADD COLUMN mood text")
    outcome = world.status()
    assert "a table was altered" in outcome.details["verdict"]["stale_because"]
    assert next_of(outcome) == "ansible-playbook phase-2.2-verify.yml"


def test_a_red_verdict_leads_to_reconcile_and_says_why(world):
    world.prepared()
    world.write("2.2", "started")
    tables = {"tasks": {"missing": 1, "extra": 0, "different": 0}}
    world.verdict(passed=False, reasons=["tasks: 1 missing"], tables=tables, differences=[{"table": "tasks", "key": 7}])
    world.write("2.2", "failed", cause="the two sides are not proven equal")
    outcome = world.status()
    assert next_of(outcome) == "ansible-playbook reconcile.yml"
    assert any(line.startswith("Verdict:") and "is red: tasks: 1 missing" in line for line in outcome.lines)


def test_a_verdict_red_by_quarantine_alone_asks_for_mending_or_signing_off(world):
    world.prepared()
    tables = {"tasks": {"missing": 0, "extra": 0, "different": 0}}
    quarantine = [{"kind": "owner_unmapped", "count": 2, "signed_off": None}]
    world.verdict(passed=False, reasons=["2 rows"], tables=tables, quarantine=quarantine)
    world.write("2.2", "failed")
    outcome = world.status()
    assert next_of(outcome) == "ansible-playbook phase-2.2-verify.yml"
    assert "owner_unmapped" in outcome.details["next"]["why"]


def test_a_rollback_that_did_not_end_is_what_to_type_next(world):
    world.verified()
    world.write("rollback-2.1", "started")
    outcome = world.status()
    assert next_of(outcome) == "ansible-playbook rollback-2.1.yml"
    assert outcome.message.startswith("phase 2.1: not started, phase 2.2: not started")


def test_after_a_whole_rollback_the_kept_journal_is_named(world):
    world.reports.mkdir()
    (world.reports / "journal-20260112T030000Z.jsonl").write_text("{}\n")
    assert any("journal-20260112T030000Z.jsonl" in line for line in world.status().lines)


def test_a_phase_at_work_is_running_and_not_interrupted(world):
    world.write("2.1", "started")
    with database.connect(database.laravel(world.laravel.dsn), "lock phase-2.1-prepare") as operator:
        operator.execute("SELECT pg_advisory_lock(1952541044, %s)", (operator_lock.OPERATOR,))
        outcome = world.status()
        assert outcome.message.startswith("phase 2.1: running")
        assert next_of(outcome) == "ansible-playbook status.yml"
        assert "phase-2.1-prepare is running, started by " in outcome.details["next"]["why"]
        world.copy()
        world.write("2.1", "done")
        assert next_of(world.status()) == "ansible-playbook phase-2.2-verify.yml", "a phase's own last step asks too"


def test_the_length_of_the_change_log_is_told(world):
    with psycopg.connect(world.laravel.dsn) as session:
        session.execute(
            "CREATE SCHEMA task_migration;"
            "CREATE TABLE task_migration.change_log AS SELECT 1 AS id, now() - interval '90 minutes' AS changed_at"
        )
    assert "Change log: 1 to sync, the oldest written 1 h 30 min ago" in world.status().lines


def test_a_copy_verified_twice_counts_once_and_a_new_copy_counts_anew(tmp_path):
    copied_at = datetime(2026, 1, 12, 3, 0, tzinfo=UTC)
    details = {**GREEN, "schema_fingerprint": "it"}
    assert migration_tests.record(tmp_path, copied_at=copied_at, details=details)
    assert not migration_tests.record(tmp_path, copied_at=copied_at, details=details)
    assert migration_tests.record(tmp_path, copied_at=copied_at + timedelta(microseconds=1), details=details)
    assert [test.rows for test in migration_tests.counted(tmp_path)] == [146, 146]


def test_a_red_verdict_is_no_migration_test(tmp_path):
    details = {**GREEN, "schema_fingerprint": "it", "passed": False}
    assert not migration_tests.record(tmp_path, copied_at=datetime.now(UTC), details=details)
    assert migration_tests.counted(tmp_path) == []


def test_a_torn_or_strange_line_is_no_migration_test(tmp_path):
    migration_tests.record(tmp_path, copied_at=datetime.now(UTC), details={**GREEN, "schema_fingerprint": "it"})
    with (tmp_path / "migration-tests.jsonl").open("a") as file:
        file.write('[1]\n{"copied_at": "x"}\nnull\n{"copied_at": "2026')
    assert len(migration_tests.counted(tmp_path)) == 1
    migration_tests.record(
        tmp_path, copied_at=datetime(2026, 1, 1, tzinfo=UTC), details={**GREEN, "schema_fingerprint": "it"}
    )
    assert len(migration_tests.counted(tmp_path)) == 2


def test_what_a_real_verify_keeps_is_what_status_and_the_report_are_made_of(copied):
    def ask():
        return call(
            status,
            laravel_dsn=copied.laravel_dsn,
            task_service_dsn=copied.task_service_dsn,
            report_directory=str(copied.reports),
            aws_region="ap-northeast-1",
            laravel_timezone="Asia/Tokyo",
        )

    def write(phase, item, result):
        journal.journal(laravel_dsn=copied.laravel_dsn, phase=phase, item=item, result=result)

    write("2.1", "phase", "done")
    with pytest.raises(Failed, match="not signed off"):
        copied.verify(quarantine_signed_off={})
    write("2.2", "phase", "failed")
    assert "owner_unmapped" in ask().details["next"]["why"]
    red = (copied.reports / "consistency-latest.md").read_text()
    assert red.startswith("# Consistency report: RED")
    assert "not signed off" in red[: red.index("## What to type next")]

    copied.verify()
    copied.verify()
    write("2.2", "phase", "done")
    outcome = ask()
    assert outcome.details["migration_tests"] == 1, "one copy, verified twice, is one test"
    assert outcome.details["verdict"]["stale_because"] is None
    checked = {item["id"]: item["done"] for phase in outcome.details["phases"] for item in phase["items"]}
    of_2_3 = ["sync", "consistency_check", "error_rate", "no_inconsistency"]
    of_2_4 = ["weight_5", "weight_25", "weight_50", "weight_100", "laravel_fenced"]
    not_done = [name for name, done in checked.items() if not done]
    of_2_5 = ["laravel_code", "documents", "monitoring", "completion_report"]
    assert not_done == ["migration_tests", "rollback_test", *of_2_3, *of_2_4, *of_2_5]
    assert (copied.reports / "consistency-latest.md").read_text().startswith("# Consistency report: GREEN")
