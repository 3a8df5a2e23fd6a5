"""The benchmark's page says what was measured, good or bad."""

from types import SimpleNamespace

import pytest
from benchmark import report
from benchmark.copying import OURS, PGCOPYDB, PLAN, RAW_ALL_INDEXES, RAW_BEST, CopyResults
from benchmark.measurement import Measurement, Measurements
from benchmark.verifying import EQUAL, PASS_LARAVEL, PASS_TASK_SERVICE, TEN, VerifyResults

WORLD = SimpleNamespace(
    tasks=1_000_000,
    sample_tasks=10_000,
    settings=lambda: {"PostgreSQL": "18", "fsync": "off"},
)


def runs(name, *walls, memory=40.0):
    return Measurements(name, [Measurement(wall, 1, 2, 3, memory) for wall in walls])


def copying():
    every = {
        OURS: runs(OURS, 11, 10, 12),
        f"{RAW_ALL_INDEXES}: binary": runs("", 14),
        f"{RAW_BEST}: binary": runs("", 10, 10, 11),
        f"{RAW_BEST}: text": runs("", 12),
        PGCOPYDB: Measurements(PGCOPYDB, problem="pgcopydb is not installed"),
        PLAN: runs(PLAN, 6.6),
    }
    return CopyResults(every, {"tasks": 940_000})


@pytest.fixture
def verifying():
    ten = {("tasks", number, "different", ("title",)) for number in range(10)}
    every = {
        PASS_LARAVEL: runs("", 5),
        PASS_TASK_SERVICE: runs("", 1),
        EQUAL: runs("", 7, memory=200),
        TEN: runs("", 7.5),
    }
    return VerifyResults(every, ten, {("tasks", 3, "different", ("title",))})


def test_the_best_raw_pipe_is_the_quickest_of_all_of_them():
    assert copying().best_raw.median == 10


def test_goals_compare_medians_and_scale_the_plans_script_up():
    measured = {goal.what: goal for goal in report.goals(WORLD, copying(), None)}
    assert measured["copy / best raw pipe"].measured == pytest.approx(1.1)
    assert measured["copy / best raw pipe"].met is False
    assert measured["the plan's script / copy"].measured == pytest.approx(60)
    assert measured["the plan's script / copy"].met is True


def test_what_is_not_there_is_said_and_is_no_goal_met(verifying):
    measured = {goal.what: goal for goal in report.goals(WORLD, copying(), verifying)}
    assert measured["copy / pgcopydb"].met is None
    page = report.page(WORLD, copying(), verifying, 3)
    assert f"| {PGCOPYDB} | not measured: pgcopydb is not installed |" in page


def test_bad_figures_stay_on_the_page(verifying):
    page = report.page(WORLD, copying(), verifying, 3)
    assert "| verify of equal data / the slower side's single pass | <= 1.15 x | 1.4 x | **no** |" in page
    assert "| of these ten, not named with table, key and column | <= 0 | 1 | **no** |" in page
    assert "| verify: memory of our process | <= 150 MB | 200 MB | **no** |" in page
    assert "every run named 9" in page


def test_the_page_comes_without_a_comparison_too():
    assert "## Verify" not in report.page(WORLD, copying(), None, 3)
