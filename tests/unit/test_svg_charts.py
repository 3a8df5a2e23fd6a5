"""Pictures: scales, ticks and labels keep their laws, and what is drawn is well formed."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_migration.report import svg_charts
from task_migration.report.svg_charts import Bar, ChartColumn, ChartStep, Label, Lane, Scale

SINCE = datetime(2025, 12, 15, 1, 0, tzinfo=UTC)
SIZES = st.floats(min_value=0, max_value=1e9, allow_nan=False)


def after(**length):
    return SINCE + timedelta(**length)


def drawn(picture, name, look=""):
    """The elements of that name and class in a picture."""
    return [one for one in ElementTree.fromstring(picture).iter(name) if look in one.get("class", "")]


def texts(picture, look=""):
    return [one.text for one in drawn(picture, "text", look)]


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
    marks = svg_charts.ticks(low, high, most)
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
    assert svg_charts.ticks(low, high, 4) == marks


def test_powers_of_ten_enclose():
    assert svg_charts.powers_of_ten(4, 4300) == [1, 10, 100, 1000, 10_000]
    assert svg_charts.powers_of_ten(10, 100) == [10, 100]


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
    named = [text for _, text in svg_charts.times(SINCE, after(**length), 8)]
    assert named[:2] == [first, second]
    assert 2 <= len(named) <= 8


def test_midnight_is_a_date():
    assert "12-16" in [text for _, text in svg_charts.times(SINCE, after(hours=30), 8)]


@given(st.integers(min_value=1, max_value=10**9), st.integers(min_value=2, max_value=9))
def test_times_lie_between_and_are_never_too_many(seconds, most):
    until = after(seconds=seconds)
    found = [at for at, _ in svg_charts.times(SINCE, until, most)]
    assert len(found) <= most
    assert all(SINCE <= at <= until for at in found)
    assert found == sorted(set(found))


@given(st.lists(st.tuples(SIZES.map(lambda size: size % 900), st.text("5 %ab準備", max_size=12)), max_size=30))
def test_labels_that_are_placed_never_touch_and_never_leave_the_picture(labels):
    kept = svg_charts.placed([Label(x, text) for x, text in sorted(labels)], 0, 900)
    spans = [(one.x - svg_charts.width_of(one.text) / 2, one.x + svg_charts.width_of(one.text) / 2) for one in kept]
    assert all(low >= -0.1 and high <= 900.1 for low, high in spans)
    assert all(before[1] < later[0] for before, later in pairwise(spans))


def test_a_japanese_character_is_as_wide_as_it_is_high():
    assert svg_charts.width_of("準備") == 2 * svg_charts.TEXT > svg_charts.width_of("ab")


@given(st.lists(st.integers(min_value=0, max_value=10**9), min_size=1, max_size=6))
def test_shares_add_up_and_what_is_there_is_seen(parts):
    shares = svg_charts.shares(parts)
    if sum(parts) <= 0:
        assert not any(shares)
        return
    assert sum(shares) == pytest.approx(100, abs=0.1)
    assert all((share >= 1.4) if part > 0 else (share == 0) for part, share in zip(parts, shares, strict=True))


def test_a_line_is_broken_where_nothing_was_measured():
    points = [(after(seconds=10 * number), value) for number, value in enumerate([5, 8, None, 9, 7, None, 6])]
    picture = svg_charts.line_chart({"forward": points}, bound=100, unit="ms", title="lag", width=880)
    assert len(drawn(picture, "polyline", "forward")) == 2
    assert len(drawn(picture, "circle", "forward")) == 1
    assert "100 ms" in texts(picture, "bound-label")


def test_a_line_with_no_value_is_no_picture():
    assert svg_charts.line_chart({"forward": [(SINCE, None)]}, bound=100, unit="ms", title="lag", width=880) == ""
    assert svg_charts.line_chart({}, bound=100, unit="ms", title="lag", width=880) == ""


def test_one_value_and_a_value_of_none_at_all_are_drawn():
    assert drawn(
        svg_charts.line_chart({"forward": [(SINCE, 0.0)]}, bound=100, unit="ms", title="", width=340), "circle"
    )


def test_a_column_above_its_bound_says_so_and_one_that_was_not_measured_is_left_out():
    columns = [ChartColumn("5 %", 41.0, "41"), ChartColumn("25 %", 250.0, "250"), ChartColumn("50 %", None, "-")]
    picture = svg_charts.column_chart(columns, bound=200, unit="ms", title="p95")
    assert [one.get("class") for one in drawn(picture, "rect")] == ["column", "column over"]
    assert texts(picture, "value") == ["41", "250", "-"]


def test_a_moment_on_a_timeline_of_weeks_is_still_seen():
    lanes = [
        Lane("2.1", [Bar(SINCE, after(seconds=3), "done")]),
        Lane("2.2", [Bar(after(days=40), after(days=40), "failed")]),
    ]
    for width in (880, 340):
        picture = svg_charts.timeline(lanes, [], since=SINCE, until=after(days=40), title="t", width=width)
        for bar in drawn(picture, "rect", "bar"):
            assert float(bar.get("width")) >= 3
            assert float(bar.get("x")) + float(bar.get("width")) <= width


def test_a_timeline_tells_each_weight_once_where_there_is_room():
    steps = [
        ChartStep(SINCE, 0),
        *(ChartStep(after(days=day), weight) for day, weight in ((10, 5), (11, 25), (12, 50), (13, 100))),
    ]
    for width in (880, 340):
        picture = svg_charts.timeline([], steps, since=SINCE, until=after(days=14), title="t", width=width)
        assert texts(picture, "value") == ["5 %", "25 %", "50 %", "100 %"]


def test_all_at_one_moment_is_drawn():
    lane = Lane("2.1", [Bar(SINCE, SINCE, "running")])
    assert svg_charts.timeline([lane], [ChartStep(SINCE, 0)], since=SINCE, until=SINCE, title="t", width=340)


def test_text_is_escaped():
    bar = Bar(SINCE, after(days=1), "done", "<script>")
    picture = svg_charts.timeline([Lane("<b>", [bar])], [], since=SINCE, until=after(days=1), title='"<', width=880)
    assert "<script>" not in picture
    assert "<b>" not in picture


def test_a_bar_of_shares_has_no_part_for_nothing():
    picture = svg_charts.bar_of_shares([("copied", 998), ("quarantined", 2), ("in_flight", 0)], "tasks")
    assert [one.get("class") for one in drawn(picture, "rect")] == ["copied", "quarantined"]
    assert drawn(svg_charts.bar_of_shares([("copied", 0)], "tasks"), "rect") == []
