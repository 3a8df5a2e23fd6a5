"""The gate of phase 2.1: so many green rehearsals of the mappings in force, one after the other."""

from __future__ import annotations

import pytest
from task_migration.control import checklist, journal, rehearsal_gate
from task_migration.errors import Refused
from task_migration.mapping import mapping_directory
from task_migration.postgres import database


@pytest.fixture
def asked(laravel_database, tmp_path):
    """Asks the gate for three."""
    dsn = laravel_database().dsn

    def ask(required=3, **more):
        return rehearsal_gate.rehearsal_gate(
            laravel_dsn=dsn, rehearsal_directory=str(tmp_path), rehearsals_required=required, **more
        )

    ask.dsn, ask.directory = dsn, tmp_path
    return ask


def rehearsed(directory, green=True, version=None, fault="breach"):
    mappings = version or mapping_directory.version()
    line = {"green": green, "mappings": mappings, "fault": fault, "at": "2026-01-01", "why": "" if green else "lost"}
    rehearsal_gate.record(directory, line)


def test_too_few_are_refused_with_what_to_type(asked):
    rehearsed(asked.directory)
    rehearsed(asked.directory, version="another")
    with pytest.raises(Refused, match=r"1 green in a row of the mappings \w{12}; 1 of other mappings.*times=2$"):
        asked()


def test_three_are_enough_and_none_where_none_is_asked_for(asked):
    assert not asked(required=0).details["to_write"]
    for fault in ("breach", "sync killed", "breach"):
        rehearsed(asked.directory, fault=fault)
    found = asked().details
    assert (found["green"], found["faults"], found["forced"]) == (3, ["breach", "sync killed"], False)
    assert found["to_write"]


def test_a_red_one_begins_the_count_anew_and_is_named(asked):
    for green in (True, True, True, False):
        rehearsed(asked.directory, green=green)
    with pytest.raises(
        Refused, match=r"0 green in a row.*the last one was red, 2026-01-01, with the fault breach: lost"
    ):
        asked()
    rehearsed(asked.directory)
    with pytest.raises(Refused, match="1 green in a row"):
        asked()


def test_forced_it_takes_a_reason_and_says_so(asked):
    with pytest.raises(Refused, match="force needs a reason"):
        asked(force=True)
    done = asked(force=True, reason="the third lab burned down")
    assert "WARNING" in done.message
    assert (done.details["forced"], done.details["reason"]) == (True, "the third lab burned down")


def test_whoever_began_with_these_mappings_is_not_asked_again_until_it_is_taken_back(asked):
    journal.journal(laravel_dsn=asked.dsn, phase="2.1", item="phase", result="started")
    evidence = {"mappings": mapping_directory.version(), "green": 3}
    journal.journal(laravel_dsn=asked.dsn, phase="2.1", item="rehearsals", result="done", evidence=evidence)
    assert not asked().details["to_write"]
    journal.journal(laravel_dsn=asked.dsn, phase="rollback-2.1", item="phase", result="started")
    with pytest.raises(Refused):
        asked()


def test_a_torn_line_is_none(asked):
    rehearsed(asked.directory)
    (asked.directory / rehearsal_gate.FILE).open("a").write('{"green": true, "mapp')
    rehearsed(asked.directory)
    with pytest.raises(Refused, match="2 green in a row"):
        asked()


def test_the_checklists_item_is_done_by_what_phase_2_1_leaned_on_unless_it_was_forced(asked):
    (phase,) = (one for one in checklist.phases() if one.phase == "2.1")
    (item,) = (one for one in phase.items if one.id == "migration_tests")

    def checked(**evidence):
        journal.journal(laravel_dsn=asked.dsn, phase="2.1", item="rehearsals", result="done", evidence=evidence)
        return checklist.check(phase, item, checklist.Evidence(entries()))

    def entries():
        with database.connect(database.laravel(asked.dsn), "test") as connection:
            return journal.entries(connection)

    forced = checked(green=1, mappings="abc", forced=True, reason="in a hurry")
    assert (forced.done, "without them: in a hurry" in forced.missing) == (False, True)
    done = checked(green=3, mappings="abc", forced=False, reason="")
    assert (done.done, done.figures) == (True, "3 green rehearsals of the mappings abc")
