"""The consistency report: verdict first, nothing of a row's content, whole files or none."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from task_migration.compare import consistency_report
from task_migration.errors import Failed
from task_migration.external import markdown

SOUND = {
    "expected": 148,
    "copied": 146,
    "quarantined": 2,
    "in_flight": 0,
    "unaccounted": 0,
    "missing": 0,
    "extra": 0,
    "different": 0,
    "laravel_rows": 146,
    "task_service_rows": 146,
}

GREEN: dict[str, Any] = {
    "passed": True,
    "reasons": [],
    "checked_at": "2026-01-12T03:00:09+00:00",
    "duration_seconds": 4.53,
    "hash_form": "record",
    "schema_fingerprint": "5f1c0d",
    "tables": {"tasks": SOUND, "task_images": {**SOUND, "expected": 1234567, "copied": 1234565}},
    "differences": [],
    "quarantine": [
        {
            "kind": "owner_unmapped",
            "count": 2,
            "held_back": True,
            "sample_keys": ["tasks 12", "tasks 34"],
            "signed_off": "退会済み | asked <support>",
        }
    ],
    "comparisons": {
        "counts": {"laravel": 148, "task_service": 146, "quarantined": 2, "equal": True},
        "sample": {"rows": 10, "equal": 10},
        "tags": {"tasks": 146, "equal": 146},
    },
}


def red(**changes: Any) -> dict[str, Any]:
    details = copy.deepcopy(GREEN)
    details |= {"passed": False, "reasons": ["tasks: 1 missing, 1 different", "2 rows in quarantine, not signed off"]}
    details["tables"]["tasks"] |= {"missing": 1, "different": 1, "copied": 145}
    details["differences"] = [
        {"table": "tasks", "key": 17, "kind": "different", "columns": ["title", "tags"]},
        {"table": "tasks", "key": 18, "kind": "missing", "columns": []},
    ]
    details["quarantine"][0]["signed_off"] = None
    return details | changes


def test_the_verdict_is_the_first_line() -> None:
    assert consistency_report.as_markdown(GREEN).splitlines()[0] == "# Consistency report: GREEN, both sides agree"
    assert consistency_report.as_markdown(red()).splitlines()[0] == "# Consistency report: RED, do not continue"


def test_a_red_report_says_why_and_what_to_type_before_anything_else() -> None:
    text = consistency_report.as_markdown(red())
    head = text[: text.index("## Is every row")]
    assert "- tasks: 1 missing, 1 different\n" in head
    assert head.index("ansible-playbook reconcile.yml") < head.index("ansible-playbook phase-2.2-verify.yml")
    assert "quarantine_signed_off" in head


def test_a_red_report_without_a_reason_is_not_silent() -> None:
    assert "No reason was recorded" in consistency_report.as_markdown(red(reasons=[]))


def test_a_green_report_sends_nobody_to_reconcile() -> None:
    assert [step["command"] for step in consistency_report.next_steps(GREEN)] == ["ansible-playbook status.yml"]
    assert "reconcile.yml" not in consistency_report.as_markdown(GREEN)


def test_a_green_report_does_not_hide_what_is_held_back() -> None:
    head = consistency_report.as_markdown(GREEN).split("## What to type next")[0]
    assert "4 rows are held back in quarantine" in head
    assert (
        "held back"
        not in consistency_report.as_markdown({**GREEN, "tables": {"tasks": {**SOUND, "quarantined": 0}}}).split("##")[
            0
        ]
    )


def test_each_difference_is_named_by_table_key_and_columns() -> None:
    lines = ["".join(line.split()) for line in consistency_report.as_markdown(red()).splitlines()]
    assert "|tasks|17|different|title,tags|" in lines
    assert "|tasks|18|missing||" in lines


def test_an_account_that_does_not_close_says_by_how_much() -> None:
    lines = ["".join(line.split()) for line in consistency_report.as_markdown(red()).splitlines()]
    assert "|tasks|148|145|2|0|NO,+1|" in lines
    assert "|task_images|1,234,567|1,234,565|2|0|yes|" in lines
    assert any(line.startswith("|total|1,234,715|1,234,710|4|0|NO|") for line in lines)


def test_a_reason_can_break_neither_table_nor_page() -> None:
    text = consistency_report.as_markdown(GREEN)
    assert "退会済み \\| asked &lt;support>" in text
    assert markdown.cell("two\nlines | <b>") == "two lines \\| &lt;b>"


def test_columns_stand_under_each_other_also_with_japanese() -> None:
    drawn = markdown.table(("word", "rows"), [["退会済み", 7], ["gone", 1234]]).splitlines()
    assert drawn == ["| word     |  rows |", "| -------- | ----: |", "| 退会済み |     7 |", "| gone     | 1,234 |"]


def test_many_differences_are_cut_in_the_page_and_whole_in_the_json(tmp_path: Path) -> None:
    named = [{"table": "tasks", "key": key, "kind": "different", "columns": ["title"]} for key in range(1000)]
    details = red(differences=named)
    details["tables"]["tasks"] |= {"missing": 0, "different": 25_000}
    markdown, machine = consistency_report.consistency_report(details, tmp_path)
    assert "100 of 25,000 are shown" in markdown.read_text()
    assert markdown.read_text().count("| different |") == 1 + 100
    assert json.loads(machine.read_text())["differences"] == named


def test_an_empty_migration_has_a_report_too() -> None:
    empty = {**GREEN, "quarantine": [], "tables": {"tasks": dict.fromkeys(SOUND, 0)}}
    text = consistency_report.as_markdown(empty)
    assert "None: no row is held back." in text
    assert "None: no row is missing, extra or different." in text


def test_both_files_and_the_latest_are_written_and_earlier_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "local"
    first = consistency_report.consistency_report(red(), folder)
    second = consistency_report.consistency_report(GREEN, folder)
    assert [path.name for path in first] == ["consistency-20260112T030009Z.md", "consistency-20260112T030009Z.json"]
    assert [path.name for path in second] == [
        "consistency-20260112T030009Z-2.md",
        "consistency-20260112T030009Z-2.json",
    ]
    assert (
        (folder / "consistency-latest.md").read_text() == second[0].read_text() == consistency_report.as_markdown(GREEN)
    )
    assert json.loads((folder / "consistency-latest.json").read_text()) == GREEN | {
        "next": consistency_report.next_steps(GREEN)
    }
    assert len(list(folder.iterdir())) == 6, "no half-written file is left"


def test_a_full_disk_is_told_in_one_line_and_leaves_the_report_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consistency_report.consistency_report(GREEN, tmp_path)
    before = {path: path.read_text() for path in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failed, match="No space left on device"):
        consistency_report.consistency_report(red(), tmp_path)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before
