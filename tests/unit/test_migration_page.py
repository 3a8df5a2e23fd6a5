"""The words of the migration's page, and how its values are said."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from task_migration.control import checklist
from task_migration.control.checklist import State
from task_migration.report import migration_page, risks
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
        *migration_page.ACCOUNT,
    ]
    assert set(wanted) <= said.keys()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ms", migration_page.NOTHING),
        (199.96, "ms", "199.9 ms"),
        (14.123, "ms", "14.1 ms"),
        (99.99996, "%", "99.9999 %"),
        (2.3, "ms", "2.3 ms"),
        (1e-7, "%", "0 %"),
        (100.0, "%", "100 %"),
        (12034.5, "ms", "12,034.5 ms"),
    ],
)
def test_a_value_is_said_with_its_unit(value, unit, text):
    assert migration_page.measured(value, unit) == text


@pytest.mark.parametrize(
    ("promise", "unit", "text"),
    [
        ({"least": 100.0}, "%", "100 %"),
        ({"least": 99.9}, "%", "≥ 99.9 %"),
        ({"below": 200.0}, "ms", "< 200 ms"),
        ({"most": 0.0}, "s", "0 s"),
    ],
)
def test_a_promise_is_said_as_the_plan_says_it(promise, unit, text):
    assert migration_page.promised({"promised": promise, "unit": unit}) == text


def test_a_cause_says_more_than_figures():
    assert migration_page.told({"weight": 25, "cause": "the gate is red"}) == "the gate is red"
    assert migration_page.told({"trigger": "error rate: 5 %", "conditions": []}) == "error rate: 5 %"
    assert migration_page.told({"carried": 41}) == checklist.figures({"carried": 41}) == "carried 41"


def test_what_was_red_is_mended_by_the_first_green_verdict_after_it():
    def verdict(at, passed):
        return {"at": at, "passed": passed, "differences": 0 if passed else 1, "reasons": [], "named": []}

    found = migration_page._verdicts([verdict("1", False), verdict("2", True), verdict("3", False)])
    assert [one["mended"] for one in found] == ["2", None, None]
