"""The section on the sync says what was measured, good or bad, and leaves the rest of the page alone."""

import json
from types import SimpleNamespace

import pytest
from benchmark import sync_report
from benchmark.__main__ import _load
from benchmark.capture_cost import CaptureCost
from benchmark.draining import DrainRounds
from benchmark.latency import Latency
from benchmark.sync_report import SyncResults
from benchmark.syncing import Load, LoadRounds

WORLD = SimpleNamespace(
    tasks=200_000, laravel_server=None, settings=lambda: {"PostgreSQL": "18", "track_commit_timestamp": "on"}
)


def latency(p95, lost=0):
    return Latency(1000, p95 / 2, p95, p95 + 1, p95 + 5, 1000.0, lost)


@pytest.fixture
def results():
    forward, both = Load(1000, 0), Load(500, 500)
    carried = {
        forward: LoadRounds(forward, [latency(10), latency(14), latency(90)], cpu=[0.4, 0.4, 0.5]),
        both: LoadRounds(both, [latency(20)], [latency(30, lost=2)], cpu=[0.8]),
    }
    drains = {1: DrainRounds(1, 100_000, [10.0, 12.0, 40.0]), 2: DrainRounds(2, problem="it | hangs")}
    costs = {"an application's mix": CaptureCost("an application's mix", [90, 80], [100, 100])}
    return SyncResults(carried, {1000: [latency(1)]}, 3, 10, 0.5, drains, costs)


def test_percentiles_are_over_the_rows_of_the_window_alone():
    here = {key: float(key) for key in range(100)}
    there = {key: at + key / 1000 for key, at in here.items() if key != 50}
    found = Latency.between(here, there, (10.0, 90.0), 1.0)
    assert (found.rows, found.lost) == (79, 1)
    assert found.longest == pytest.approx(89)
    assert found.p50 == pytest.approx(49)
    assert found.p95 == pytest.approx(86)


def test_a_window_without_rows_is_no_quick_one():
    assert Latency.between({1: 5.0}, {}, (0.0, 10.0), 1.0) == Latency(0, 0, 0, 0, 0, 1.0, 1)


def test_goals_compare_medians_of_rounds_and_the_slower_way(results):
    found = {goal.what: goal for goal in sync_report.goals(results)}
    alone = found["1,000 forward per second: p95"]
    assert (alone.measured, alone.met) == (14, True)
    both = found["500 forward + 500 backward per second: the slower direction's p95"]
    assert (both.measured, both.met) == (30, False)
    assert found["rows that never reached the other side"].met is False
    assert found["keys per second that 1 worker drains"].measured == pytest.approx(100_000 / 12)
    assert found["keys per second that 2 workers drain"].met is None
    assert found["throughput that capture costs, an application's mix"].measured == pytest.approx(15)


def test_bad_figures_and_what_failed_stay_in_the_section(results):
    text = sync_report.section(WORLD, results)
    assert "| 500 forward + 500 backward per second: the slower direction's p95 | <= 25 ms | 30 ms | **no** |" in text
    assert "| 2 | not measured: it ; hangs | | |" in text
    assert "| 1,000 forward: native replication | 0.5 | 1.0 |" in text


def test_the_json_holds_every_round(results):
    figures = json.loads(sync_report.as_json(WORLD, results))
    assert [one["p95"] for one in figures["sync"][0]["forward"]] == [10, 14, 90]
    assert figures["goals"][0]["met"] is True


def test_a_new_section_takes_the_old_ones_place_and_leaves_the_rest(results):
    page = "# Benchmarks\n\n## Verify\n\nfigures\n"
    text = sync_report.section(WORLD, results)
    once = sync_report.with_section(page, text)
    assert once == page + "\n" + text
    assert sync_report.with_section(once, text) == once
    below = f"{once}\n## The canary\n\nby hand\n"
    assert sync_report.with_section(below, text) == below
    assert sync_report.sync_section(once) == text
    assert sync_report.sync_section(page) == ""
    assert sync_report.with_section("# Benchmarks\n\nnew\n", sync_report.sync_section(page)) == "# Benchmarks\n\nnew\n"


def test_a_load_is_two_rates():
    assert _load("500+50") == Load(500, 50)
    for text in ("500", "0+0", "a+b", "-1+5"):
        with pytest.raises(Exception, match="writes per second"):
            _load(text)
