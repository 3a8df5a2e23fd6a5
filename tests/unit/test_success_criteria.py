"""The plan's success criteria, measured beside promised."""

from __future__ import annotations

import pytest
from task_migration.report import success_criteria
from task_migration.report.success_criteria import SuccessFacts

TABLES = {"tasks": {"laravel_rows": 1000, "missing": 0, "different": 0}}
VERDICT = {
    "tables": TABLES,
    "comparisons": {
        "counts": {"laravel": 1002, "task_service": 1000, "quarantined": 2, "equal": True},
        "tags": {"tasks": 1000, "equal": 1000},
    },
}
CANARY = [
    {"requests": 4000, "errors": 0, "p95_ms": 41.0, "cpu_percent": 20.0},
    {"requests": 9000, "errors": 1, "p95_ms": 88.0, "cpu_percent": None},
]


def states(**known):
    return {one.criterion.id: one.state for one in success_criteria.judge(SuccessFacts(**known))}


def value_of(name, **known):
    (found,) = (one.measured for one in success_criteria.judge(SuccessFacts(**known)) if one.criterion.id == name)
    return found and found.value


def test_what_nobody_measured_is_never_met():
    assert set(states().values()) == {"not measured"}


def test_the_plan_has_nine_criteria_in_three_areas_each_in_both_languages():
    found = success_criteria.criteria()
    assert len(found) == 9
    assert len({one.area_ja for one in found}) == 3
    assert all(one.ja and one.en and one.by_ja and one.by_en for one in found)
    assert {one.measure for one in found} - {""} == success_criteria.MEASURES.keys()


def test_all_that_can_be_measured_can_be_met():
    found = states(verdict=VERDICT, figures=CANARY, watched_requests=9000, watched_errors=1, sync_p95_ms=14.0)
    assert found.pop("downtime") == "not measured"
    assert set(found.values()) == {"met"}


def test_the_worst_weight_counts():
    assert value_of("p95", figures=CANARY) == 88.0
    assert value_of("cpu", figures=CANARY) == 20.0


def test_a_row_that_differs_or_is_missing_misses_a_promise_of_all():
    tables = {"tasks": {**TABLES["tasks"], "missing": 1, "different": 4}}
    counts = {"laravel": 1000, "task_service": 999, "equal": False}
    red = {"tables": tables, "comparisons": {"counts": counts, "tags": {"tasks": 1000, "equal": 995}}}
    found = states(verdict=red)
    assert (found["counts"], found["content"], found["tags"]) == ("missed", "missed", "met")
    assert value_of("content", verdict=red) == pytest.approx(99.5)
    assert value_of("counts", verdict=red) == pytest.approx(99.9)


def test_too_few_requests_prove_no_error_rate():
    assert states(figures=[{"requests": 100, "errors": 0}])["error_rate"] == "unproven"
    assert states(figures=[{"requests": 100, "errors": 1}])["error_rate"] == "missed"
    assert states(figures=[{"requests": None, "errors": None}])["error_rate"] == "not measured"


def test_below_is_not_at_the_bound():
    assert states(sync_p95_ms=100.0)["sync_time"] == "missed"
    assert states(sync_p95_ms=99.9)["sync_time"] == "met"


def test_a_red_verdict_that_knows_little_is_no_error():
    assert states(verdict={"passed": False})["counts"] == "not measured"
