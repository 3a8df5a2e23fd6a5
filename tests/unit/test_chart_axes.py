"""The arithmetic of charts: scales, ticks and labels keep their laws."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_migration.report import chart_axes
from task_migration.report.chart_axes import Label, Scale

SINCE = datetime(2025, 12, 15, 1, 0, tzinfo=UTC)
SIZES = st.floats(min_value=0, max_value=1e9, allow_nan=False)


def after(**length):
    return SINCE + timedelta(**length)


def test_a_scale_keeps_to_its_ends():
    scale = Scale(0, 100, 200, 0)
    assert [scale(value) for value in (-5, 0, 50, 100, 400)] == [200, 200, 100, 0, 0]
    assert [Scale(1, 1000, 0, 300, logarithmic=True)(value) for value in (1, 10, 1000)] == [0, 100, 300]
    assert Scale(3, 3, 10, 20)(3) == 10, "one value alone stands at the start"


@given(SIZES, SIZES, st.integers(min_value=2, max_value=12))
def test_ticks_are_round_within_the_bounds_and_never_too_many(one, other, most):
    low, high = sorted((one, other))
    if high - low < 1e-3:
        return
    marks = chart_axes.ticks(low, high, most)
    assert len(marks) <= most
    steps = {f"{b - a:.3g}" for a, b in pairwise(marks)}
    assert len(steps) <= 1
    for step in steps:
        digits = float(step) / 10 ** math.floor(math.log10(float(step)) + 1e-9)
        assert round(digits) in (1, 2, 5, 10)
    slack = (high - low) * 1e-6
    assert all(low - slack <= mark <= high + slack for mark in marks)


@pytest.mark.parametrize(("low", "high", "marks"), [(0, 0.115, [0, 0.05, 0.1]), (0, 230, [0, 100, 200])])
def test_ticks_of_the_promises(low, high, marks):
    assert chart_axes.ticks(low, high, 4) == marks


def test_powers_of_ten_enclose():
    assert chart_axes.powers_of_ten(4, 4300) == [1, 10, 100, 1000, 10_000]
    assert chart_axes.powers_of_ten(10, 100) == [10, 100]


@pytest.mark.parametrize(
    ("length", "first", "second"),
    [
        ({"seconds": 40}, "01:00:00", "01:00:10"),
        ({"minutes": 30}, "01:00", "01:05"),
        ({"hours": 30}, "06:00", "12:00"),
        ({"days": 35}, "12-20", "12-25"),
    ],
)
def test_times_are_round_and_named_by_their_size(length, first, second):
    named = [text for _, text in chart_axes.time_ticks(SINCE, after(**length), 8)]
    assert named[:2] == [first, second]
    assert 2 <= len(named) <= 8


def test_midnight_is_a_date():
    assert "12-16" in [text for _, text in chart_axes.time_ticks(SINCE, after(hours=30), 8)]


@given(st.integers(min_value=1, max_value=10**9), st.integers(min_value=2, max_value=9))
def test_times_lie_between_and_are_never_too_many(seconds, most):
    until = after(seconds=seconds)
    found = [at for at, _ in chart_axes.time_ticks(SINCE, until, most)]
    assert len(found) <= most
    assert all(SINCE <= at <= until for at in found)
    assert found == sorted(set(found))


@given(st.lists(st.tuples(SIZES.map(lambda size: size % 900), st.text("5 %ab準備", max_size=12)), max_size=30))
def test_labels_that_are_placed_never_touch_and_never_leave_the_picture(labels):
    kept = chart_axes.fitting_labels([Label(x, text) for x, text in sorted(labels)], 0, 900)
    spans = [(one.x - chart_axes.width_of(one.text) / 2, one.x + chart_axes.width_of(one.text) / 2) for one in kept]
    assert all(low >= -0.1 and high <= 900.1 for low, high in spans)
    assert all(before[1] < later[0] for before, later in pairwise(spans))


def test_a_japanese_character_is_as_wide_as_it_is_high():
    assert chart_axes.width_of("準備") == 2 * chart_axes.TEXT_HEIGHT > chart_axes.width_of("ab")


@given(st.lists(st.integers(min_value=0, max_value=10**9), min_size=1, max_size=6))
def test_shares_add_up_and_what_is_there_is_seen(parts):
    shares = chart_axes.percentages(parts)
    if sum(parts) <= 0:
        assert not any(shares)
        return
    assert sum(shares) == pytest.approx(100, abs=0.1)
    assert all((share >= 1.4) if part > 0 else (share == 0) for part, share in zip(parts, shares, strict=True))
