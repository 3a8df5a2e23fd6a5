"""The words of the migration's page."""

from __future__ import annotations

import re
from typing import get_args

from task_migration.control.checklist import State
from task_migration.report import migration_page, page_charts, risks
from task_migration.report.timeline import RunResult, Why


def placeholders(text):
    return sorted(re.findall(r"\{(\w*)\}", text))


def test_every_word_is_said_in_both_languages_with_the_same_figures_in_it():
    english, japanese = migration_page.words("en"), migration_page.words("ja")
    assert english.keys() == japanese.keys()
    assert all(placeholders(text) == placeholders(japanese[name]) for name, text in english.items())
    assert all(english.values())
    assert all(japanese.values())


def test_every_state_result_and_reason_has_its_word():
    said = migration_page.words("en")
    wanted = [
        *(f"state_{state.replace(' ', '_')}" for state in get_args(State)),
        *(f"result_{result}" for result in (*get_args(RunResult), "started")),
        *(f"why_{why}" for why in get_args(Why)),
        *(f"risk_{state.replace(' ', '_')}" for state in get_args(risks.State)),
        *page_charts.ACCOUNT,
    ]
    assert set(wanted) <= said.keys()


def test_what_was_red_is_mended_by_the_first_green_verdict_after_it():
    def verdict(at, passed):
        return {"at": at, "passed": passed, "differences": 0 if passed else 1, "reasons": [], "named": []}

    found = migration_page._verdicts([verdict("1", False), verdict("2", True), verdict("3", False)])
    assert [one["reconciled"] for one in found] == ["2", None, None]
