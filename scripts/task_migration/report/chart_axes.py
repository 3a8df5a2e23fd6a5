"""The arithmetic of charts: from values to places, ticks on an axis, and labels that do not overlap.

One unit is one CSS pixel.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

TEXT_HEIGHT = 12.0
"""The height of a letter."""
_GAP = 8.0
"""The smallest distance between two labels."""
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
    """Maps values from ``low`` to ``high`` to places from ``start`` to ``end``; ``start`` may be the larger one."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Returns the place of a value; a value outside the range is placed at its nearer end."""
        low, high, given = (self._measure(one) for one in (self.low, self.high, min(max(value, self.low), self.high)))
        share = (given - low) / (high - low) if high > low else 0.0
        return round(self.start + share * (self.end - self.start), 1)

    def _measure(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


@dataclass(frozen=True)
class Label:
    """A text that is centred at ``x``."""

    x: float
    text: str


def ticks(low: float, high: float, most: int) -> list[float]:
    """Returns at most ``most`` round values from ``low`` to ``high``; their distance is 1, 2 or 5 times a power of
    ten."""
    if high <= low or most < 2:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10, 20) if step * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def powers_of_ten(low: float, high: float) -> list[float]:
    """Returns the powers of ten that enclose ``low`` and ``high``, and those between; both are above 0."""
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def time_ticks(since: datetime, until: datetime, most: int) -> list[tuple[datetime, str]]:
    """Returns at most ``most`` round times in UTC, each with its label: a time of day, or a date."""
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
    """Returns about how wide a text is; a Japanese character is as wide as it is high."""
    return sum(TEXT_HEIGHT if unicodedata.east_asian_width(letter) in "WF" else TEXT_HEIGHT * 0.58 for letter in text)


def fitting_labels(labels: Sequence[Label], low: float, high: float) -> list[Label]:
    """Returns the labels that fit between ``low`` and ``high`` without overlap, moved inwards at the edges.

    ``labels`` are in the order of their places. One that overlaps the label before it is left out; the table below the
    chart has every value.
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


def percentages(parts: Sequence[float], least: float = 1.5) -> list[float]:
    """Returns percentages that add up to 100. A part above 0 is at least ``least`` wide, so that two of a million
    show."""
    total = sum(parts)
    if total <= 0:
        return [0.0 for _ in parts]
    wanted = [100 * part / total for part in parts]
    raised = [max(least, share) if share > 0 else 0.0 for share in wanted]
    spare = sum(share for share in raised if share > least)
    over = sum(raised) - 100
    return [round(share - over * share / spare, 3) if share > least else share for share in raised]
