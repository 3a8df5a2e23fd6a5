"""How the values of the migration page are formatted."""

from __future__ import annotations

import pytest
from task_migration.control import checklist
from task_migration.report import page_format


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ms", page_format.NOTHING),
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
    assert page_format.measured(value, unit) == text


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
    assert page_format.promised({"promised": promise, "unit": unit}) == text


def test_a_cause_says_more_than_figures():
    assert page_format.evidence_summary({"weight": 25, "cause": "the gate is red"}) == "the gate is red"
    assert page_format.evidence_summary({"trigger": "error rate: 5 %", "conditions": []}) == "error rate: 5 %"
    assert page_format.evidence_summary({"carried": 41}) == checklist.figures({"carried": 41}) == "carried 41"
