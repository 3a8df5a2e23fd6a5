"""Laws of the journal and of the verdicts, in a real database of Laravel's."""

from __future__ import annotations

import getpass
import json
import socket
import sys
from datetime import UTC, timedelta

import psycopg
import pytest
from psycopg import errors as pg
from task_migration import database, journal
from task_migration.errors import Failed, Refused

VERDICT = {"passed": True, "schema_fingerprint": "as it is", "tables": {}, "differences": []}


@pytest.fixture
def dsn(laravel_database):
    return laravel_database().dsn


@pytest.fixture
def laravel(dsn):
    with database.connect(database.laravel(dsn), "test") as connection:
        yield connection


def ours(dsn):
    with psycopg.connect(dsn) as session:
        return session.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text = 'task_migration'"
        ).fetchone()[0]


def write(dsn, item="phase", result="done", phase="2.1", **evidence):
    return journal.journal(laravel_dsn=dsn, phase=phase, item=item, result=result, evidence=evidence)


def test_an_entry_says_who_when_where_and_by_which_command(dsn, laravel, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/bin/ansible-playbook", "phase-2.1-prepare.yml"])
    outcome = write(dsn, "copy", rows=310)
    (entry,) = journal.entries(laravel)
    assert (entry.phase, entry.item, entry.result, entry.evidence) == ("2.1", "copy", "done", {"rows": 310})
    assert entry.who == f"{getpass.getuser()}@{socket.gethostname()}"
    assert entry.command == "ansible-playbook phase-2.1-prepare.yml"
    assert entry.at.tzinfo == UTC or entry.at.utcoffset() == timedelta(0)
    assert not outcome.changed, "a record of what was done is no change"


def test_entries_are_read_in_the_order_of_writing_and_by_phase(dsn, laravel):
    write(dsn, result="started")
    write(dsn, phase="2.2", result="started")
    write(dsn, result="done")
    assert [entry.result for entry in journal.entries(laravel, "2.1")] == ["started", "done"]
    assert [entry.phase for entry in journal.entries(laravel)] == ["2.1", "2.2", "2.1"]


@pytest.mark.parametrize("table", ["journal", "verdict"])
@pytest.mark.parametrize(
    "rewriting",
    ["UPDATE {} SET at = now()", "DELETE FROM {}", "TRUNCATE {}", "DELETE FROM {} WHERE false"],
)
def test_what_is_written_down_cannot_be_rewritten_even_by_its_owner(dsn, laravel, table, rewriting):
    write(dsn)
    journal.keep_verdict(laravel, VERDICT)
    with pytest.raises(pg.RaiseException, match=f"task_migration.{table} only ever grows"):
        laravel.execute(rewriting.format(f"task_migration.{table}"))
    assert len(journal.entries(laravel)) == 1


def test_not_even_a_superuser_in_replica_mode_rewrites_it(laravel_database):
    fresh = laravel_database()
    write(fresh.dsn)
    with psycopg.connect(fresh.superuser_dsn) as session:
        session.execute("SET session_replication_role = replica")
        with pytest.raises(pg.RaiseException, match="only ever grows"):
            session.execute("DELETE FROM task_migration.journal")


def test_check_mode_writes_nothing_and_says_what_it_would(dsn):
    outcome = journal.journal(laravel_dsn=dsn, phase="2.1", item="phase", result="started", evidence={}, check=True)
    assert (outcome.changed, outcome.message) == (False, "would write down: phase 2.1: started")
    assert ours(dsn) == 0


def test_a_password_is_refused_and_leaves_nothing_behind(dsn):
    with pytest.raises(Refused, match="looks like a password"):
        write(dsn, "provision", address="host=db password=hunter2")
    assert ours(dsn) == 0


def test_a_start_after_a_killed_run_says_so(dsn, laravel):
    assert "interrupted" not in write(dsn, result="started").message
    outcome = write(dsn, result="started")
    assert f"by {getpass.getuser()}@{socket.gethostname()}, was interrupted" in outcome.message
    assert outcome.details["interrupted"]["id"] == journal.entries(laravel)[0].id
    write(dsn, result="failed", cause="disk full")
    assert "interrupted" not in write(dsn, result="started").message


def test_the_start_of_one_item_or_phase_is_not_the_interruption_of_another(dsn):
    write(dsn, "copy", "started")
    write(dsn, phase="2.2", result="started")
    assert "interrupted" not in write(dsn, result="started").message


def test_a_rollback_never_brings_the_journal_back(dsn, laravel):
    write(dsn, phase="rollback-2.1", result="done")
    assert ours(dsn) == 0
    write(dsn)
    write(dsn, phase="rollback-2.1", result="started")
    assert [entry.phase for entry in journal.entries(laravel)] == ["2.1", "rollback-2.1"]


def test_ensure_twice_changes_nothing_and_completes_what_is_half_there(laravel):
    journal.ensure(laravel)
    journal.keep_verdict(laravel, VERDICT)
    laravel.execute("DROP TABLE task_migration.journal")
    journal.ensure(laravel)
    journal.ensure(laravel)
    assert journal.entries(laravel) == []
    assert journal.latest_verdict(laravel) is not None


def test_reading_a_database_with_nothing_of_ours_finds_nothing_and_makes_nothing(dsn, laravel, tmp_path):
    assert journal.entries(laravel) == []
    assert journal.latest_verdict(laravel) is None
    assert journal.export(laravel, tmp_path) is None
    assert ours(dsn) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_export_holds_every_entry_whole_and_in_order(dsn, laravel, tmp_path):
    write(dsn, "copy", "started")
    write(dsn, "copy", "done", tables={"tasks": {"copied": 148}}, note="図書館")
    first, second = journal.export(laravel, tmp_path / "reports"), journal.export(laravel, tmp_path / "reports")
    assert first != second
    lines = [json.loads(line) for line in first.read_text().splitlines()]
    assert lines == [json.loads(line) for line in second.read_text().splitlines()]
    assert [(line["item"], line["result"]) for line in lines] == [("copy", "started"), ("copy", "done")]
    assert lines[1]["evidence"] == {"tables": {"tasks": {"copied": 148}}, "note": "図書館"}
    assert {"id", "at", "operator", "host", "command", "phase"} <= lines[0].keys()


def test_the_export_fails_in_one_line_where_nothing_can_be_written(dsn, laravel, tmp_path):
    write(dsn)
    (tmp_path / "reports").write_text("a file, not a folder")
    with pytest.raises(Failed, match="report_directory"):
        journal.export(laravel, tmp_path / "reports")


def test_the_last_verdict_counts_green_or_red(laravel):
    journal.keep_verdict(laravel, VERDICT)
    kept = journal.keep_verdict(laravel, {**VERDICT, "passed": False, "differences": [{"table": "tasks", "key": 7}]})
    assert journal.latest_verdict(laravel) == kept
    assert kept.summary["differences"] == [{"table": "tasks", "key": 7}]
    assert "is red" in journal.stale_because(kept, kept.at, 24, "as it is")


def test_a_kept_verdict_is_fresh_until_its_age_or_a_change_of_the_tables(laravel):
    kept = journal.keep_verdict(laravel, VERDICT)
    assert journal.stale_because(kept, kept.at + timedelta(hours=1), 24, "as it is") is None
    assert journal.stale_because(kept, kept.at + timedelta(hours=25), 24, "as it is") is not None
    assert journal.stale_because(kept, kept.at, 24, "altered") is not None
