"""Files are whole or not there, and a line is added once."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest
from task_migration.errors import Failed
from task_migration.external import atomic_file


def test_a_file_that_could_not_be_written_leaves_the_one_before_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = atomic_file.write(tmp_path / "reports" / "a.md", "before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failed, match=r"a\.md could not be written; measured: No space left on device"):
        atomic_file.write(path, "after")
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("a.md", "before")]


def test_a_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("")
    with pytest.raises(Failed, match="report_directory"):
        atomic_file.write(tmp_path / "reports" / "a.md", "text")
    with pytest.raises(Failed, match="report_directory"):
        atomic_file.append(tmp_path / "reports" / "a.jsonl", "line")


def test_a_half_written_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"copy": "one"}\n{"cop')
    assert atomic_file.append(path, '{"copy": "two"}')
    assert path.read_text().splitlines() == ['{"copy": "one"}', '{"cop', '{"copy": "two"}']


def test_of_many_who_add_the_same_line_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    added: list[bool] = []
    threads = [
        Thread(target=lambda: added.append(atomic_file.append(path, "same", unless=lambda lines: "same" in lines)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == [False] * 7 + [True]
    assert path.read_text() == "same\n"


def test_names_of_the_same_second_do_not_collide(tmp_path: Path) -> None:
    at = datetime(2026, 1, 12, 3, 0, 9, tzinfo=UTC)
    first = atomic_file.unused(tmp_path, "consistency", at, ".md", ".json")
    assert [path.name for path in first] == ["consistency-20260112T030009Z.md", "consistency-20260112T030009Z.json"]
    first[1].write_text("")
    second = atomic_file.unused(tmp_path, "consistency", at, ".md", ".json")
    assert [path.name for path in second] == [
        "consistency-20260112T030009Z-2.md",
        "consistency-20260112T030009Z-2.json",
    ]
