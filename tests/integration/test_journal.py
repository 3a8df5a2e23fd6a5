"""Laws of the journal and of the verdicts, in a real database of Laravel's."""

from __future__ import annotations

import getpass
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql
from psycopg.types.json import Jsonb
from task_migration import sql_files
from task_migration.control import journal
from task_migration.errors import Failed, Refused
from task_migration.external.aws import Aws
from task_migration.postgres import database
from task_migration.report.status import status
from task_migration.traffic.stage import Gateway
from timed import fastest, seconds_of

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
    assert (outcome.changed, outcome.message) == (False, "would be written to the journal: phase 2.1: started")
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


# The chain


@pytest.fixture(scope="module")
def kept(laravel_server, laravel_template):
    """A database with a journal of five entries, for tests that take back what they do to it."""
    name = "laravel_with_a_journal"
    laravel_server.add_database(name, "laravel", template=laravel_template(150))
    dsn = laravel_server.dsn(name, "task_migrator")
    outcomes = [write(dsn, f"item {number}", rows=number) for number in range(1, 6)]
    yield dsn, journal.EntryHash(*(outcomes[-1].details[name] for name in ("journal", "id", "hash")))
    laravel_server.drop_database(name)


@pytest.fixture
def five(kept):
    """The mark of the fifth and last entry."""
    return kept[1]


@pytest.fixture
def tampered(kept):
    """A session that has switched the triggers off; all it does is taken back in the end."""
    session = database.connect(database.laravel(kept[0]), "test")
    with session as connection, connection.transaction(force_rollback=True):
        connection.execute("ALTER TABLE task_migration.journal DISABLE TRIGGER ALL")
        yield connection


def append(connection, item="later", result="done", **evidence):
    """As journal.journal does it, in a session of one's own, which goes on tampering afterwards."""
    journal.ensure(connection)
    values = {"operator": "me", "host": "here", "command": "", "phase": "2.1", "item": item, "result": result}
    connection.execute(sql_files.statement("control/journal.sql", "append"), {**values, "evidence": Jsonb(evidence)})
    connection.execute("ALTER TABLE task_migration.journal DISABLE TRIGGER ALL")


def broken(connection, *marks):
    found = journal.broken(connection, marks)
    return found and (found.id, found.why)


def give_its_hash(connection, number):
    """Somebody who knows how it is reckoned."""
    own = sql_files.statement("control/journal.sql", "hash", entry=sql.Identifier("entry")).as_string()
    connection.execute(f"UPDATE task_migration.journal AS entry SET hash = {own} WHERE id = %s", (number,))


def write_anew(connection):
    """Reckons the whole chain anew, its end too."""
    for number in [entry.id for entry in journal.entries(connection)]:
        connection.execute(
            "UPDATE task_migration.journal j SET previous = b.hash FROM task_migration.journal b"
            " WHERE j.id = %s AND b.id = j.id - 1",
            (number,),
        )
        give_its_hash(connection, number)
    connection.execute(
        "UPDATE task_migration.journal_end SET (id, hash) ="
        " (SELECT id, hash FROM task_migration.journal ORDER BY id DESC LIMIT 1)"
    )


def test_a_journal_holds_whatever_the_session_that_asks(tampered, five):
    append(tampered, "図書館", text='a "quoted" \\ word, \t and 😀', nested={"b": [1.50, None], "a": "x"}, number=1e20)
    tampered.execute("SET timezone TO 'Asia/Kathmandu'; SET datestyle TO 'German'; SET bytea_output TO 'escape'")
    assert broken(tampered, five) is None
    assert broken(tampered) is None
    tampered.execute("RESET ALL")
    entries = journal.entries(tampered)
    assert [entry.id for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert (entries[4].hash, entries[0].previous) == (five.hash, five.journal)


def test_an_empty_journal_and_none_are_not_broken(laravel):
    assert broken(laravel) is None
    journal.ensure(laravel)
    assert broken(laravel) is None


@pytest.mark.parametrize(
    "change",
    [
        *("at = at + interval '1 microsecond'", "operator = 'somebody'", "host = 'elsewhere'", "command = ''"),
        *("phase = '2.2'", "item = 'copy'", "result = 'failed'", "evidence = '{\"rows\": 4}'"),
        "operator = '', host = operator || host",
    ],
)
def test_whoever_alters_an_entry_is_seen(tampered, change):
    tampered.execute(f"UPDATE task_migration.journal SET {change} WHERE id = 3")
    assert broken(tampered) == (3, "it was altered after it was written")


@pytest.mark.parametrize(
    ("number", "found"),
    [
        (3, (4, "it does not follow entry 3; one of them was replaced")),
        (5, (5, "it was replaced")),
    ],
)
def test_whoever_gives_an_altered_entry_its_hash_is_seen(tampered, number, found):
    tampered.execute("UPDATE task_migration.journal SET evidence = '{}' WHERE id = %s", (number,))
    give_its_hash(tampered, number)
    assert broken(tampered) == found
    append(tampered)
    assert broken(tampered) is not None, "what is written later must not heal it"


@pytest.mark.parametrize(
    ("gone", "first"), [("1", 1), ("3", 3), ("2, 3", 2), ("5", 5), ("4, 5", 4), ("1, 2, 3, 4, 5", 1)]
)
def test_whoever_removes_entries_is_seen_at_the_end_too(tampered, gone, first):
    tampered.execute(f"DELETE FROM task_migration.journal WHERE id IN ({gone})")
    assert broken(tampered) == (first, "it was removed")
    append(tampered)
    assert broken(tampered) == (first, "it was removed"), "what is written later must not heal it"
    assert journal.entries(tampered)[-1].id == 6


def test_whoever_puts_an_entry_in_is_seen_and_stops_nobody_from_writing(tampered):
    tampered.execute(
        "INSERT INTO task_migration.journal SELECT 6, at, operator, host, command, phase, 'put in', result, evidence,"
        " hash, sha256('') FROM task_migration.journal WHERE id = 5"
    )
    assert broken(tampered)[0] == 6
    append(tampered)
    assert broken(tampered) == (6, "it was altered after it was written")


@pytest.mark.parametrize("statement", ["DROP TABLE", "DELETE FROM"])
def test_a_journal_without_its_end_says_so_and_can_still_be_written_to(tampered, statement):
    tampered.execute(f"{statement} task_migration.journal_end")
    assert "the record of the journal's last entry was removed" in broken(tampered)[1]
    append(tampered)
    assert [entry.id for entry in journal.entries(tampered)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("statement", ["DISABLE TRIGGER ALL", "DISABLE TRIGGER only_grows", "ENABLE TRIGGER chained"])
def test_triggers_that_were_left_off_stop_nobody_from_writing_and_are_put_on_again(dsn, laravel, statement):
    write(dsn)
    laravel.execute(f"ALTER TABLE task_migration.journal {statement}")
    write(dsn)
    assert broken(laravel) is None
    with pytest.raises(pg.RaiseException, match="only ever grows"):
        laravel.execute("DELETE FROM task_migration.journal")


def test_a_journal_that_was_dropped_is_missed_by_the_one_that_is_made_anew(tampered):
    tampered.execute("DROP TABLE task_migration.journal")
    append(tampered)
    assert broken(tampered) == (1, "it was removed")


def test_whoever_writes_all_of_it_anew_is_seen_by_the_marks_alone(tampered, five):
    tampered.execute("UPDATE task_migration.journal SET evidence = '{}' WHERE id = 1")
    write_anew(tampered)
    assert broken(tampered) is None
    assert broken(tampered, five) == (5, "it was replaced")


def test_whoever_cuts_the_end_off_and_mends_it_is_seen_by_the_marks_alone(tampered, five):
    tampered.execute("DELETE FROM task_migration.journal WHERE id > 3")
    write_anew(tampered)
    assert broken(tampered) is None
    assert broken(tampered, five) == (4, "it was removed")


def test_marks_of_another_journal_say_nothing(tampered):
    assert broken(tampered, journal.EntryHash("00" * 16, 7, "00" * 32)) is None


def test_writers_at_once_make_one_chain(dsn, laravel):
    journal.ensure(laravel)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write(dsn, f"item {number}"), range(40)))
    assert [entry.id for entry in journal.entries(laravel)] == list(range(1, 41))
    assert broken(laravel) is None


def test_an_entry_that_was_not_completed_leaves_no_gap(tampered):
    append(tampered)
    with pytest.raises(pg.CheckViolation), tampered.transaction():
        append(tampered, result="no such result")
    append(tampered)
    assert broken(tampered) is None
    assert [entry.id for entry in journal.entries(tampered)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_session_in_replica_mode_is_chained_as_well(laravel_database):
    fresh = laravel_database()
    write(fresh.dsn)
    with psycopg.connect(fresh.superuser_dsn) as session:
        session.execute("SET session_replication_role = replica")
        session.execute(
            "INSERT INTO task_migration.journal (operator, host, command, phase, item, result, evidence)"
            " VALUES ('', '', '', '', '', 'done', '{}')"
        )
    with database.connect(database.laravel(fresh.dsn), "test") as connection:
        assert broken(connection) is None
        assert len(journal.entries(connection)) == 2


def test_ten_thousand_entries_are_looked_through_at_once(laravel):
    journal.ensure(laravel)
    for _ in range(20):
        laravel.execute(
            "INSERT INTO task_migration.journal (operator, host, command, phase, item, result, evidence)"
            " SELECT 'me', 'here', 'ansible-playbook', '2.4', 'shift', 'done', jsonb_build_object('to', n)"
            " FROM generate_series(1, 500) AS n"
        )
    assert broken(laravel) is None
    assert fastest(lambda: seconds_of(lambda: broken(laravel)), 1) < 1


def test_the_export_keeps_the_hashes(tampered, five, tmp_path):
    lines = [json.loads(line) for line in journal.export(tampered, tmp_path).read_text().splitlines()]
    assert [line["previous"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    assert (lines[0]["previous"], lines[-1]["hash"]) == (five.journal, five.hash)


def test_a_journal_of_an_earlier_version_is_refused_with_what_to_type(dsn, laravel):
    laravel.execute("CREATE SCHEMA task_migration; CREATE TABLE task_migration.journal (id bigint, at timestamptz)")
    with pytest.raises(Refused, match=r"earlier development version.*lab-down\.yml"):
        write(dsn)


# What the operator is told of it


def test_status_says_that_it_holds_and_first_of_all_that_it_does_not(dsn, laravel, tmp_path):
    def ask():
        return status(
            laravel_dsn=dsn,
            task_service_dsn="",
            report_directory=str(tmp_path),
            gateway=Gateway(),
            aws=Aws("ap-northeast-1"),
            laravel_timezone="UTC",
        )

    assert ask().details["journal"] == {"entries": 0, "broken": None, "killed": None}
    for number in range(3):
        write(dsn, f"item {number}")
    assert "Journal: 3 entries, unbroken" in ask().lines
    laravel.execute("ALTER TABLE task_migration.journal DISABLE TRIGGER ALL")
    laravel.execute("UPDATE task_migration.journal SET operator = 'somebody' WHERE id = 2")
    told = ask()
    assert told.message.startswith("the journal is BROKEN; phase 2.1: ")
    assert told.lines[0] == (
        "Journal: BROKEN at entry 2: it was altered after it was written;"
        f" what the runs on this machine did: {tmp_path / 'runs.jsonl'}"
    )
    assert told.details["journal"]["broken"] == {"id": 2, "why": "it was altered after it was written"}
    assert told.lines[-1].startswith("Next: ")
