"""A service of its own root table, by the files of docs/adding-a-service.md: copied, verified, synced, taken back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sides import Sides
from task_migration.control import sync_switch
from task_migration.errors import Refused
from task_migration.mapping import mapping_directory, reverse_mapping, table_mapping
from task_migration.postgres import database
from task_migration.prepare import preflight
from task_migration.sync import capture, change_log
from task_migration.sync.sync_worker import SyncSettings, SyncWorker

MAPPING = "mapping/task_executions.sql"


@pytest.fixture
def folder(project: Path, tmp_path: Path) -> Path:
    """The folder that the document describes."""
    text = (project / "docs/adding-a-service.md").read_text()
    for name, content in re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        file = tmp_path / "analytics_service" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return tmp_path / "analytics_service"


@pytest.fixture
def chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, chosen until the test ends."""
    monkeypatch.setenv(mapping_directory.VARIABLE, "")
    mapping_directory.choose(str(folder))
    return folder


@pytest.fixture
def analytics(chosen: Path, make_sides: Callable[..., Sides]) -> Sides:
    """Prepared and copied."""
    sides = make_sides()
    sides.prepare()
    sides.copy()
    return sides


@pytest.fixture
def worker(analytics: Sides) -> Iterator[SyncWorker]:
    """The sync, on and connected."""
    sync_switch.sync_switch(laravel_dsn=analytics.laravel_dsn, name="sync_forward", state="on")
    worker = SyncWorker(SyncSettings.from_dict(analytics.both), "forward")
    worker.connect()
    yield worker
    worker.close()


def rows(sides: Sides) -> int:
    return int(sides.target("SELECT count(*) FROM task_executions")[0][0])


def test_its_tables_are_its_own(analytics: Sides) -> None:
    tables = analytics.target(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    assert {name for (name,) in tables} == {"SequelizeMeta", "task_executions"}
    assert capture.task_tables("laravel") == ["task_executions"]


def test_every_row_crosses_and_a_second_copy_changes_nothing(analytics: Sides) -> None:
    assert rows(analytics) == 100
    assert not analytics.copy().changed
    (row,) = analytics.target("SELECT task_id, status::text, note FROM task_executions WHERE id = 7")
    (same,) = analytics.laravel("SELECT task_id, completion_status FROM task_executions WHERE id = 7")
    assert row == (*same, None)


def test_verify_is_green_and_names_the_row_that_differs(analytics: Sides) -> None:
    found = analytics.verify(quarantine_signed_off={})
    assert found.details["comparisons"].keys() == {"counts", "sample"}
    analytics.target("UPDATE task_executions SET actual_effort_minutes = 999 WHERE id = 7")
    with pytest.raises(Exception, match="task_executions 7 different: actual_effort_minutes"):
        analytics.verify(quarantine_signed_off={})
    assert analytics.reconcile().details["reconciled"] == 1
    analytics.verify(quarantine_signed_off={})


def test_writes_of_laravels_are_carried_and_what_the_service_owns_stays(analytics: Sides, worker: SyncWorker) -> None:
    analytics.target("UPDATE task_executions SET note = 'hers' WHERE id = 7")
    analytics.laravel("UPDATE task_executions SET actual_effort_minutes = 12 WHERE id = 7")
    analytics.laravel("DELETE FROM task_executions WHERE id = 8")
    analytics.laravel("INSERT INTO task_executions (id, task_id, proposal_id) VALUES (5000, 1, 1)")
    while worker.step().entries:
        pass
    assert analytics.target("SELECT actual_effort_minutes, note FROM task_executions WHERE id = 7") == [(12, "hers")]
    assert analytics.target("SELECT id FROM task_executions WHERE id IN (8, 5000)") == [(5000,)]
    analytics.verify(quarantine_signed_off={})


def test_what_may_not_cross_is_held_back_and_crosses_when_it_may(analytics: Sides, worker: SyncWorker) -> None:
    analytics.laravel("UPDATE task_executions SET completion_status = 'lost' WHERE id = 7")
    worker.step()
    assert analytics.held_back("status_unknown") == {("task_executions", 7)}
    analytics.laravel("UPDATE task_executions SET completion_status = 'partial' WHERE id = 7")
    worker.step()
    assert not analytics.held_back("status_unknown")
    assert analytics.target("SELECT status::text FROM task_executions WHERE id = 7") == [("partial",)]


def test_a_new_column_of_laravels_stops_it(analytics: Sides, chosen: Path) -> None:
    analytics.laravel("ALTER TABLE task_executions ADD mood text")
    with pytest.raises(Refused, match=rf"task_executions.mood text is new; .*{chosen}/mapping"):
        analytics.verify()


def test_nothing_of_tasks_is_asked_by_its_preflight(analytics: Sides) -> None:
    looked = preflight.preflight(**analytics.both, report_directory=str(analytics.reports), check=True)
    assert {one["name"] for one in looked.details["findings"]} == {
        *("tls", "long transactions", "target", "tls of the target")
    }


def test_it_takes_no_write_without_a_way_back(analytics: Sides) -> None:
    capture.capture(
        laravel_dsn=analytics.laravel_dsn, task_service_dsn=analytics.task_service_dsn, side="task_service", check=False
    )
    with pytest.raises(Refused, match="a reverse mapping is missing"):
        SyncWorker(SyncSettings.from_dict(analytics.both), "backward").connect()


@pytest.mark.parametrize("first_is_chosen", [True, False])
def test_one_service_at_a_time(
    sides: Sides, folder: Path, monkeypatch: pytest.MonkeyPatch, first_is_chosen: bool
) -> None:
    monkeypatch.setenv(mapping_directory.VARIABLE, "")
    if first_is_chosen:
        capture.capture(laravel_dsn=sides.laravel_dsn, state="absent", check=False)
        mapping_directory.choose(str(folder))
        capture.capture(laravel_dsn=sides.laravel_dsn, check=False)
    mapping_directory.choose("" if first_is_chosen else str(folder))
    with database.connect(database.laravel(sides.laravel_dsn), "test") as laravel:
        before = laravel.execute("SELECT count(*) FROM pg_trigger").fetchone()
        for check in (True, False):
            with pytest.raises(Refused, match="another service's migration"):
                capture.capture(laravel_dsn=sides.laravel_dsn, check=check)
        assert laravel.execute("SELECT count(*) FROM pg_trigger").fetchone() == before


def test_a_choice_is_the_process_s_and_ends_with_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mapping_directory.VARIABLE, "")
    for directory, tables, unit in ((str(folder), ["task_executions"], None), ("", ["tasks", "group_tasks"], "tasks")):
        mapping_directory.choose(directory)
        assert [one.table for one in table_mapping.mappings()][:2] == tables
        assert change_log.row_group_of("group_tasks") == unit
    assert len(reverse_mapping.reverses()) == 2


def test_a_folder_without_mappings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mapping_directory.VARIABLE, "")
    with pytest.raises(Refused, match="does not contain mappings"):
        mapping_directory.choose(str(tmp_path))
    assert mapping_directory.chosen() == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("key: id\n", "", "is not a valid mapping.*KeyError: 'key'"),
        ("/*\n", "/* ", "is not a valid mapping.*begin with a YAML comment"),
        ("root: id}", "root: task_id}", "not of one service.*its root task_id"),
        ("-- name: candidates", "-- candidates", "is not a valid mapping.*has no block"),
        ("  task_executions: {column", "  tasks: {column", "is not a valid mapping.*does not capture its base"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(chosen: Path, old: str, new: str, said: str) -> None:
    file = chosen / MAPPING
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(Refused, match=said):
        table_mapping.mappings()


def test_its_file_is_legal_and_complete(analytics: Sides) -> None:
    (one,) = table_mapping.mappings()
    with database.connect(database.laravel(analytics.laravel_dsn, timezone="Asia/Tokyo"), "test") as laravel:
        laravel.execute((mapping_directory.folder("mapping") / "task_executions.sql").read_text())
        candidates = {key for (key,) in laravel.execute(one.candidates())}
        assert candidates == {row[0] for row in laravel.execute(one.rows())}
