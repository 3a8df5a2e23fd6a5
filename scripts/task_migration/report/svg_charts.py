"""Draws small charts as SVG: a line over time, columns with a bound, phases and weights on one axis, shares of a whole.

Elements have a class and no colour: only the page's style sheet decides how they look in dark, in light and on paper.
One unit is one CSS pixel; a narrow chart is drawn with a narrow width, because scaled-down text is not readable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from xml.etree import ElementTree

from task_migration.report.chart_axes import (
    Label,
    Scale,
    fitting_labels,
    percentages,
    powers_of_ten,
    ticks,
    time_ticks,
    width_of,
)

_LEAST_BAR = 3.0
_MOMENT = timedelta(seconds=1)


@dataclass(frozen=True)
class Bar:
    """A bar from ``since`` to ``until`` in one lane. ``look`` is its class, ``tooltip`` the text that a pointer
    shows."""

    since: datetime
    until: datetime
    look: str
    tooltip: str = ""


@dataclass(frozen=True)
class Lane:
    """One line of a timeline."""

    name: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class ChartStep:
    """A value in percent, from ``at`` to the next step."""

    at: datetime
    percent: float


@dataclass(frozen=True)
class ChartColumn:
    """One column of a chart. ``value`` is None where nothing was measured; ``label`` is written above it."""

    name: str
    value: float | None
    label: str


Points = Sequence[tuple[datetime, float | None]]


def line_chart(
    series: Mapping[str, Points], *, bound: float, unit: str, title: str, width: float, height: float = 220
) -> str:
    """Draws lines over time with a logarithmic axis and a bound. A line has a gap where a value is None.

    ``series`` are by name, which is the line's class. Returns "" if there is no value.
    """
    known = [(at, value) for points in series.values() for at, value in points if value is not None]
    if not known:
        return ""
    since, until = min(at for at, _ in known), max(at for at, _ in known)
    until = max(until, since + _MOMENT)
    values = [max(value, 0.1) for _, value in known]
    marks = powers_of_ten(min(*values, bound / 10), max(*values, bound))
    left, right, top, bottom = 52.0, width - 8, 28.0, height - 24
    x = Scale(since.timestamp(), until.timestamp(), left, right)
    y = Scale(marks[0], marks[-1], bottom, top, logarithmic=True)
    picture = _picture(width, height, title)
    for mark in marks:
        _line(picture, "grid", left, y(mark), right, y(mark))
        _text(picture, "tick end", left - 6, y(mark) + 4, f"{mark:,g}")
    _text(picture, "tick end", left - 6, top - 16, unit)
    _time_axis(picture, x, since, until, bottom)
    _line(picture, "bound", left, y(bound), right, y(bound))
    _text(picture, "bound-label end", right, y(bound) - 5, f"{bound:g} {unit}")
    for name, points in series.items():
        for run in _unbroken(points):
            places = [(x(at.timestamp()), y(max(value, 0.1))) for at, value in run]
            if len(places) == 1:
                _add(picture, "circle", f"point {name}", cx=places[0][0], cy=places[0][1], r=2.5)
            else:
                _add(picture, "polyline", f"line {name}", points=" ".join(f"{a:g},{b:g}" for a, b in places))
    return _as_text(picture)


def column_chart(columns: Sequence[ChartColumn], *, bound: float, unit: str, title: str, width: float = 340) -> str:
    """Draws columns and a bound, each column with its name below and its label above."""
    height, left, top = 200.0, 44.0, 24.0
    right, bottom = width - 8, height - 24
    highest = max([bound, *(one.value for one in columns if one.value is not None)]) * 1.15
    marks = ticks(0, highest, 5)
    y = Scale(0, highest, bottom, top)
    picture = _picture(width, height, title)
    for mark in marks:
        _line(picture, "grid", left, y(mark), right, y(mark))
        _text(picture, "tick end", left - 6, y(mark) + 4, f"{mark:g}")
    _text(picture, "tick end", left - 6, top - 9, unit)
    slot = (right - left) / max(1, len(columns))
    middles = [left + slot * (number + 0.5) for number in range(len(columns))]
    for middle, one in zip(middles, columns, strict=True):
        if one.value is not None:
            wide = min(36.0, slot * 0.6)
            look = "column" if one.value < bound else "column over"
            high = max(1.0, bottom - y(one.value))
            _add(picture, "rect", look, x=middle - wide / 2, y=bottom - high, width=wide, height=high)
    _line(picture, "bound", left, y(bound), right, y(bound))
    for label in fitting_labels([Label(a, one.name) for a, one in zip(middles, columns, strict=True)], left, right):
        _text(picture, "tick middle", label.x, height - 8, label.text)
    tops = {middle: y(one.value or 0) - 5 for middle, one in zip(middles, columns, strict=True)}
    for label in fitting_labels([Label(a, one.label) for a, one in zip(middles, columns, strict=True)], left, right):
        above = tops[min(tops, key=lambda middle: abs(middle - label.x))]
        _text(picture, "value middle", label.x, above, label.text)
    return _as_text(picture)


def timeline(
    lanes: Sequence[Lane], steps: Sequence[ChartStep], *, since: datetime, until: datetime, title: str, width: float
) -> str:
    """Draws bars in lanes, and below them a percentage that changes in steps, all on one time axis.

    In a narrow chart the name of a lane is above its bars, not beside them.
    """
    until = max(until, since + _MOMENT)
    narrow = width < 500
    named = 0.0 if narrow else max((width_of(lane.name) for lane in lanes), default=0.0) + 16
    left, right = max(named, 44.0), width - 8
    high = 38.0 if narrow else 26.0
    area = 110.0 if steps else 0.0
    bottom = 6 + high * len(lanes) + area
    x = Scale(since.timestamp(), until.timestamp(), left, right)
    picture = _picture(width, bottom + 24, title)
    for at, _ in time_ticks(since, until, _most(right - left)):
        _line(picture, "grid", x(at.timestamp()), 0, x(at.timestamp()), bottom)
    for number, lane in enumerate(lanes):
        top = 6 + high * number
        if narrow:
            _text(picture, "lane", 0, top + 11, lane.name)
        else:
            _text(picture, "lane end", left - 10, top + 14, lane.name)
        for bar in lane.bars:
            begin, end = x(bar.since.timestamp()), x(bar.until.timestamp())
            thin = "active" in bar.look
            drawn = _add(
                picture,
                "rect",
                f"bar {bar.look}",
                x=min(begin, right - _LEAST_BAR),
                y=top + (18 if narrow else 3) + (5 if thin else 0),
                width=max(end - begin, 0.0 if thin else _LEAST_BAR),
                height=4 if thin else 14,
            )
            if bar.tooltip:
                ElementTree.SubElement(drawn, "title").text = bar.tooltip
    if steps:
        _steps(picture, steps, x, Scale(0, 100, bottom, bottom - area + 28), until)
    _time_axis(picture, x, since, until, bottom)
    return _as_text(picture)


def bar_of_shares(parts: Sequence[tuple[str, float]], title: str) -> str:
    """Draws one bar as wide as the page allows, of parts with a class and a size each."""
    picture = _picture(100, 4, title)
    picture.set("preserveAspectRatio", "none")
    begin = 0.0
    for (look, _), share in zip(parts, percentages([size for _, size in parts]), strict=True):
        if share:
            _add(picture, "rect", look, x=round(begin, 3), y=0, width=share, height=4)
        begin += share
    return _as_text(picture)


def _steps(picture: ElementTree.Element, steps: Sequence[ChartStep], x: Scale, y: Scale, until: datetime) -> None:
    for mark in (0, 50, 100):
        _line(picture, "grid", x.start, y(mark), x.end, y(mark))
        _text(picture, "tick end", x.start - 6, y(mark) + 4, f"{mark} %")
    corners: list[tuple[float, float]] = []
    for number, step in enumerate(steps):
        end = steps[number + 1].at if number + 1 < len(steps) else until
        corners += [(x(step.at.timestamp()), y(step.percent)), (x(end.timestamp()), y(step.percent))]
    path = " ".join(f"{a:g},{b:g}" for a, b in corners)
    area = f"{corners[0][0]:g},{y(0):g} {path} {corners[-1][0]:g},{y(0):g}"
    _add(picture, "polygon", "share-area", points=area)
    _add(picture, "polyline", "share-line", points=path)
    # The labels of each height are placed apart from the others, above the line.
    for percent in sorted({step.percent for step in steps if step.percent}):
        own = [Label(x(step.at.timestamp()) + 14, f"{percent:g} %") for step in steps if step.percent == percent]
        for label in fitting_labels(own, x.start, x.end):
            _text(picture, "value middle", label.x, y(percent) - 5, label.text)


def _unbroken(points: Points) -> list[list[tuple[datetime, float]]]:
    """Returns the parts of a line, each without a gap."""
    runs: list[list[tuple[datetime, float]]] = [[]]
    for at, value in points:
        if value is not None:
            runs[-1].append((at, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _time_axis(picture: ElementTree.Element, x: Scale, since: datetime, until: datetime, bottom: float) -> None:
    _line(picture, "axis", x.start, bottom, x.end, bottom)
    labels = [Label(x(at.timestamp()), text) for at, text in time_ticks(since, until, _most(x.end - x.start))]
    for label in fitting_labels(labels, min(x.start, 20.0), x.end + 8):
        _text(picture, "tick middle", label.x, bottom + 16, label.text)


def _most(width: float) -> int:
    return max(2, int(width // 90))


def _picture(width: float, height: float, title: str) -> ElementTree.Element:
    return ElementTree.Element("svg", {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": title})


def _add(parent: ElementTree.Element, name: str, look: str, **attributes: float | str) -> ElementTree.Element:
    values = {
        key: one if isinstance(one, str) else f"{one:.2f}".rstrip("0").rstrip(".") for key, one in attributes.items()
    }
    return ElementTree.SubElement(parent, name, {"class": look, **values})


def _line(picture: ElementTree.Element, look: str, x1: float, y1: float, x2: float, y2: float) -> None:
    _add(picture, "line", look, x1=x1, y1=y1, x2=x2, y2=y2)


def _text(picture: ElementTree.Element, look: str, x: float, y: float, text: str) -> None:
    _add(picture, "text", look, x=x, y=y).text = text


def _as_text(picture: ElementTree.Element) -> str:
    return ElementTree.tostring(picture, encoding="unicode")
