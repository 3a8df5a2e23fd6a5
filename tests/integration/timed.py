"""How long something takes, on a machine that may be busy with something else."""

from __future__ import annotations

import time
from collections.abc import Callable

ATTEMPTS = 3


def seconds_of(act: Callable[[], object]) -> float:
    """How many seconds it takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


def fastest(attempt: Callable[[], float], below: float) -> float:
    """The least seconds of up to three attempts. The first one that is below the bound is the last."""
    found: list[float] = []
    while len(found) < ATTEMPTS and min(found, default=below) >= below:
        found.append(attempt())
    return min(found)
