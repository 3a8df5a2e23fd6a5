"""How long to wait between two attempts: longer each time, and never quite the same."""

from __future__ import annotations

import random


def pause(attempt: int, shortest: float, longest: float) -> float:
    """Returns the seconds to wait after an attempt; the first attempt is 0.

    The wait doubles from ``shortest`` to ``longest``. It is shortened at random by up to a half, so that two programs
    that met once do not meet again.
    """
    return min(longest, shortest * 2.0 ** min(attempt, 30)) * random.uniform(0.5, 1)
