"""The lines of runs: what is written is read again, and whatever a crash, a full disk or a stranger left is borne."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from task_migration.control import journal, run_log
from task_migration.control.run_log import Recorder

COUNTS = {"ok": 2, "changed": 1, "failures": 0}
ELSEWHERE = {"run": "r", "playbook": "p", "event": "begin", "operator": "me", "command": "", "pid": 1, "process": ""}


def begun(directory: Path, playbook: str = "phase-2.1-prepare", *, check: bool = False) -> Recorder:
    return Recorder(directory, playbook, command=f"ansible-playbook {playbook}.yml", check=check)


def step(run: Recorder, task: str = "Copy the tasks", module: str = "bulk_copy", **more: Any) -> None:
    said: dict[str, Any] = {"result": "ok", "check": False, "message": "done", "details": {}, **more}
    run.step("phase-2.1-prepare", task=task, module=module, **said)


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / run_log.FILE).read_text().split("\n") if line]


def killed(directory: Path, *modules: str, end: bool = False, **more: Any) -> None:
    """A run of another process, which is gone after these steps; without a word, unless ``end``."""
    child = os.fork()
    if child == 0:
        try:
            run = begun(directory)
            for module in modules:
                step(run, module, module, **more)
            if end:
                run.end("ok", COUNTS)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = begun(tmp_path)
    step(run, "The lock", "operator_lock")
    step(run, "Copy\u2028the tasks", result="changed", message="148 rows\n図書館", details={"rows": 148})
    run.end("ok", COUNTS)
    (read,) = run_log.runs(tmp_path)
    assert (read.playbook, read.state, read.acted, read.last_step) == (
        *("phase-2.1-prepare", "ok", True),
        "Copy\u2028the tasks",
    )
    assert read.ended is not None
    assert read.ended >= read.began
    begin, _, copied, end = lines(tmp_path)
    assert begin["command"] == "ansible-playbook phase-2.1-prepare.yml"
    assert (copied["phase"], copied["module"], copied["result"]) == ("2.1", "bulk_copy", "changed")
    assert (copied["message"], copied["details"]) == ("148 rows\n図書館", {"rows": 148})
    assert end["counts"] == COUNTS
    assert {line["run"] for line in lines(tmp_path)} == {read.run}


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    begun(tmp_path / "reports")
    assert stat.S_IMODE((tmp_path / "reports" / run_log.FILE).stat().st_mode) == 0o600


def test_a_run_at_work_is_running_and_one_whose_process_is_gone_was_killed(tmp_path: Path) -> None:
    killed(tmp_path)
    begun(tmp_path)
    assert [run.state for run in run_log.runs(tmp_path)] == ["killed", "running"]


def test_another_process_of_the_same_number_is_not_the_run(tmp_path: Path) -> None:
    begun(tmp_path)
    file = tmp_path / run_log.FILE
    file.write_text(file.read_text().replace('"process": "', '"process": "9'))
    assert [run.state for run in run_log.runs(tmp_path)] == ["killed"]


def test_of_another_machines_run_without_an_end_nothing_is_known(tmp_path: Path) -> None:
    line = {**ELSEWHERE, "time": "2026-01-12T03:00:00+00:00", "host": "no such host"}
    (tmp_path / run_log.FILE).write_text(json.dumps(line) + "\n")
    assert [run.state for run in run_log.runs(tmp_path)] == ["unknown"]


def test_only_a_run_that_held_the_lock_and_has_no_end_was_left_unended(tmp_path: Path) -> None:
    killed(tmp_path, "status")
    killed(tmp_path, "operator_lock", check=True)
    killed(tmp_path, "operator_lock", result="failed")
    killed(tmp_path, "operator_lock", end=True)
    assert run_log.left_unended(tmp_path) is None
    killed(tmp_path, "operator_lock", "bulk_copy")
    found = run_log.left_unended(tmp_path)
    assert found is not None
    assert found.last_step == "bulk_copy"


def test_a_look_does_not_make_a_killed_run_forgotten_and_a_whole_run_does(tmp_path: Path) -> None:
    killed(tmp_path, "operator_lock")
    killed(tmp_path, "status", end=True)
    assert run_log.left_unended(tmp_path) is not None
    killed(tmp_path, "operator_lock", end=True)
    assert run_log.left_unended(tmp_path) is None


def test_a_killed_run_is_forgotten_once_another_is_at_work(tmp_path: Path) -> None:
    killed(tmp_path, "operator_lock")
    step(begun(tmp_path), "The lock", "operator_lock")
    assert run_log.left_unended(tmp_path) is None


def test_a_line_that_was_torn_swallows_no_other(tmp_path: Path) -> None:
    first = begun(tmp_path)
    with (tmp_path / run_log.FILE).open("a") as file:
        file.write('{"time": "2026-01-12T03:0')
    second = begun(tmp_path)
    second.end("ok", COUNTS)
    first.end("failed", COUNTS)
    assert [run.state for run in run_log.runs(tmp_path)] == ["failed", "ok"]


@pytest.mark.parametrize(
    "text", ["", "[]\n", "7\nnull\n", '{"event": "begin"}\n', "\x00\xff\n", '{"run": [], "time": 3}\n']
)
def test_strange_lines_are_no_runs(tmp_path: Path, text: str) -> None:
    (tmp_path / run_log.FILE).write_bytes(text.encode("latin-1"))
    assert run_log.runs(tmp_path) == []
    assert run_log.marks(tmp_path) == []


def test_where_nothing_was_written_there_are_no_runs(tmp_path: Path) -> None:
    assert run_log.runs(tmp_path / "nowhere") == []
    assert run_log.left_unended(tmp_path / "nowhere") is None


def test_the_last_mark_of_each_journal_is_kept(tmp_path: Path) -> None:
    run = begun(tmp_path)
    for name, number in [("a", 1), ("b", 1), ("a", 2)]:
        step(run, module="journal", details={"journal": name, "id": number, "hash": f"{name}{number}"})
    step(run, module="journal", details={"recorded": False})
    step(run, module="bulk_copy", details={"journal": "a", "id": 9, "hash": ""})
    assert run_log.marks(tmp_path) == [journal.EntryHash("a", 2, "a2"), journal.EntryHash("b", 1, "b1")]


def test_passwords_in_a_message_and_details_beyond_measure_are_left_out(tmp_path: Path) -> None:
    step(begun(tmp_path), message="host=db password=hunter2", details={"keys": list(range(50_000))})
    line = lines(tmp_path)[-1]
    assert (line["message"], line["details"]) == ("host=db password=***", {})


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        begun(tmp_path).end("ok", COUNTS)
    monkeypatch.setattr(run_log, "LOOK_BACK_BYTES", os.path.getsize(tmp_path / run_log.FILE) // 4)
    assert 0 < len(run_log.runs(tmp_path)) < 10


def test_a_folder_that_cannot_be_written_to_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        begun(tmp_path / "file")
