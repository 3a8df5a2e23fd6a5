"""What is drawn is well formed, and shows what it is given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from hypothesis import strategies as st
from task_migration.report import svg_charts
from task_migration.report.svg_charts import Bar, ChartColumn, ChartStep, Lane

SINCE = datetime(2025, 12, 15, 1, 0, tzinfo=UTC)
SIZES = st.floats(min_value=0, max_value=1e9, allow_nan=False)


def after(**length):
    return SINCE + timedelta(**length)


def drawn(picture, name, look=""):
    """The elements of that name and class in a picture."""
    return [one for one in ElementTree.fromstring(picture).iter(name) if look in one.get("class", "")]


def texts(picture, look=""):
    return [one.text for one in drawn(picture, "text", look)]


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
