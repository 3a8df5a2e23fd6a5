"""Small pictures as SVG: a line over time, columns beside a bound, phases and weights on one axis, shares of a whole.

Pure, and plain: an element carries a class and no colour, so that the page's style sheet alone says how it looks in the
dark, in the light and on paper. One unit is one CSS pixel; whoever needs a narrow picture asks for a narrow width, for
text that is scaled down can't be read.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

TEXT = 12.0
"""Height of a letter's box."""
_GAP = 8.0
"""Between two labels beside each other, at least."""
_LEAST_BAR = 3.0
_MOMENT = timedelta(seconds=1)
_STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (
        *(1, 2, 5, 10, 15, 30),
        *(60, 120, 300, 600, 900, 1800),
        *(3600, 7200, 10_800, 21_600, 43_200),
        *(86_400, 172_800, 259_200, 432_000, 604_800, 1_209_600),
    )
)


@dataclass(frozen=True)
class Scale:
    """From values ``low`` to ``high`` onto places ``start`` to ``end``; ``start`` may be the larger one."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; of one beyond either end, that end."""
        low, high, given = (self._measure(one) for one in (self.low, self.high, min(max(value, self.low), self.high)))
        share = (given - low) / (high - low) if high > low else 0.0
        return round(self.start + share * (self.end - self.start), 1)

    def _measure(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


@dataclass(frozen=True)
class Label:
    """A text whose middle is at ``x``."""

    x: float
    text: str


@dataclass(frozen=True)
class Bar:
    """From ``since`` to ``until`` in one lane. ``look`` is its class, ``told`` what a pointer over it shows."""

    since: datetime
    until: datetime
    look: str
    told: str = ""


@dataclass(frozen=True)
class Lane:
    """One line of a timeline."""

    name: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class ChartStep:
    """A value in percent, from ``at`` on, up to the next step."""

    at: datetime
    percent: float


@dataclass(frozen=True)
class ChartColumn:
    """One column of a chart: None where nothing was measured. ``said`` stands above it."""

    name: str
    value: float | None
    said: str


Points = Sequence[tuple[datetime, float | None]]


# Axes


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values from ``low`` to ``high``, at most so many, each 1, 2 or 5 times a power of ten from the next."""
    if high <= low or most < 2:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10, 20) if step * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def powers_of_ten(low: float, high: float) -> list[float]:
    """Those from the last at or below ``low`` to the first at or above ``high``; both are above 0."""
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def times(since: datetime, until: datetime, most: int) -> list[tuple[datetime, str]]:
    """Round times in UTC between both, at most so many, each with what to call it: a time of day, or a date."""
    length = until - since
    step = next((step for step in _STEPS if length / step < most), max(_STEPS[-1], length / max(1, most - 1)))
    midnight = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    number = math.ceil((since - midnight) / step)
    form = "%m-%d" if step >= timedelta(days=1) else "%H:%M" if step >= timedelta(minutes=1) else "%H:%M:%S"
    found: list[tuple[datetime, str]] = []
    while (at := midnight + number * step) <= until and len(found) < most:
        found.append((at, f"{at:%m-%d}" if at.time() == midnight.time() and length > step else f"{at:{form}}"))
        number += 1
    return found


def width_of(text: str) -> float:
    """About how wide a text is; a Japanese character is as wide as it is high."""
    return sum(TEXT if unicodedata.east_asian_width(letter) in "WF" else TEXT * 0.58 for letter in text)


def placed(labels: Sequence[Label], low: float, high: float) -> list[Label]:
    """Those that stand between ``low`` and ``high`` without touching one before; moved inwards at either edge.

    ``labels`` are in the order of their places. Who comes too late for a place is left out: the table says it too.
    """
    kept: list[Label] = []
    taken = low - _GAP
    for label in labels:
        half = width_of(label.text) / 2
        x = min(max(label.x, low + half), high - half)
        if x - half >= taken + _GAP:
            kept.append(Label(round(x, 1), label.text))
            taken = x + half
    return kept


def shares(parts: Sequence[float], least: float = 1.5) -> list[float]:
    """Percentages that add up to 100: what is there at all is ``least`` wide, so that two of a million show."""
    total = sum(parts)
    if total <= 0:
        return [0.0 for _ in parts]
    wanted = [100 * part / total for part in parts]
    raised = [max(least, share) if share > 0 else 0.0 for share in wanted]
    spare = sum(share for share in raised if share > least)
    over = sum(raised) - 100
    return [round(share - over * share / spare, 3) if share > least else share for share in raised]


# Pictures


def line_chart(
    series: Mapping[str, Points], *, bound: float, unit: str, title: str, width: float, height: float = 220
) -> str:
    """Lines over time above a logarithmic axis, with a bound. Where a value is None a line is broken.

    ``series`` are by name, which is the line's class. "" if there is no value at all.
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
    return _written(picture)


def column_chart(columns: Sequence[ChartColumn], *, bound: float, unit: str, title: str, width: float = 340) -> str:
    """Columns from 0 beside a bound, each with its name below and its value above."""
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
    for label in placed([Label(a, one.name) for a, one in zip(middles, columns, strict=True)], left, right):
        _text(picture, "tick middle", label.x, height - 8, label.text)
    tops = {middle: y(one.value or 0) - 5 for middle, one in zip(middles, columns, strict=True)}
    for label in placed([Label(a, one.said) for a, one in zip(middles, columns, strict=True)], left, right):
        above = tops[min(tops, key=lambda middle: abs(middle - label.x))]
        _text(picture, "value middle", label.x, above, label.text)
    return _written(picture)


def timeline(
    lanes: Sequence[Lane], steps: Sequence[ChartStep], *, since: datetime, until: datetime, title: str, width: float
) -> str:
    """Bars in lanes, and under them a share in percent that goes by steps, all on one axis of time.

    In a narrow picture a lane's name stands above its bars and not beside them.
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
    for at, _ in times(since, until, _most(right - left)):
        _line(picture, "grid", x(at.timestamp()), 0, x(at.timestamp()), bottom)
    for number, lane in enumerate(lanes):
        top = 6 + high * number
        if narrow:
            _text(picture, "lane", 0, top + 11, lane.name)
        else:
            _text(picture, "lane end", left - 10, top + 14, lane.name)
        for bar in lane.bars:
            begin, end = x(bar.since.timestamp()), x(bar.until.timestamp())
            thin = "stands" in bar.look
            drawn = _add(
                picture,
                "rect",
                f"bar {bar.look}",
                x=min(begin, right - _LEAST_BAR),
                y=top + (18 if narrow else 3) + (5 if thin else 0),
                width=max(end - begin, 0.0 if thin else _LEAST_BAR),
                height=4 if thin else 14,
            )
            if bar.told:
                ElementTree.SubElement(drawn, "title").text = bar.told
    if steps:
        _steps(picture, steps, x, Scale(0, 100, bottom, bottom - area + 28), until)
    _time_axis(picture, x, since, until, bottom)
    return _written(picture)


def bar_of_shares(parts: Sequence[tuple[str, float]], title: str) -> str:
    """One bar, as wide as there is room, of parts with a class and a size each."""
    picture = _picture(100, 4, title)
    picture.set("preserveAspectRatio", "none")
    begin = 0.0
    for (look, _), share in zip(parts, shares([size for _, size in parts]), strict=True):
        if share:
            _add(picture, "rect", look, x=round(begin, 3), y=0, width=share, height=4)
        begin += share
    return _written(picture)


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
    # Each height has labels of its own, and 50 % written above its line crosses nothing.
    for percent in sorted({step.percent for step in steps if step.percent}):
        own = [Label(x(step.at.timestamp()) + 14, f"{percent:g} %") for step in steps if step.percent == percent]
        for label in placed(own, x.start, x.end):
            _text(picture, "value middle", label.x, y(percent) - 5, label.text)


def _unbroken(points: Points) -> list[list[tuple[datetime, float]]]:
    """The parts of a line, each without a gap."""
    runs: list[list[tuple[datetime, float]]] = [[]]
    for at, value in points:
        if value is not None:
            runs[-1].append((at, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _time_axis(picture: ElementTree.Element, x: Scale, since: datetime, until: datetime, bottom: float) -> None:
    _line(picture, "axis", x.start, bottom, x.end, bottom)
    labels = [Label(x(at.timestamp()), text) for at, text in times(since, until, _most(x.end - x.start))]
    for label in placed(labels, min(x.start, 20.0), x.end + 8):
        _text(picture, "tick middle", label.x, bottom + 16, label.text)


def _most(width: float) -> int:
    return max(2, int(width // 90))


def _picture(width: float, height: float, title: str) -> ElementTree.Element:
    return ElementTree.Element("svg", {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": title})


def _add(parent: ElementTree.Element, name: str, look: str, **attributes: float | str) -> ElementTree.Element:
    said = {
        key: one if isinstance(one, str) else f"{one:.2f}".rstrip("0").rstrip(".") for key, one in attributes.items()
    }
    return ElementTree.SubElement(parent, name, {"class": look, **said})


def _line(picture: ElementTree.Element, look: str, x1: float, y1: float, x2: float, y2: float) -> None:
    _add(picture, "line", look, x1=x1, y1=y1, x2=x2, y2=y2)


def _text(picture: ElementTree.Element, look: str, x: float, y: float, text: str) -> None:
    _add(picture, "text", look, x=x, y=y).text = text


def _written(picture: ElementTree.Element) -> str:
    return ElementTree.tostring(picture, encoding="unicode")
