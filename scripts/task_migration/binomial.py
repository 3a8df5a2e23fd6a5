"""How much so many events among so many requests prove about the true share: the exact binomial test.

Pure. Shares and confidences are between 0 and 1. "So many or fewer" is summed from the largest term outwards and each
term comes from the one before it, so a hundred million requests take no longer than a few milliseconds.
"""

from __future__ import annotations

import math

_NEGLIGIBLE = 1e-17
_HALVINGS = 30


def proven_below(events: int, of: int, bound: float, confidence: float) -> bool:
    """Whether it is proven that the true share is below ``bound``.

    It is when a share of ``bound`` would show so few events with a probability of at most 1 - ``confidence``, and what
    was seen is itself below: which a confidence of less than a half does not imply.
    """
    return events < bound * of and _at_most(events, of, bound) <= 1 - confidence


def proven_above(events: int, of: int, bound: float, confidence: float) -> bool:
    """Whether it is proven that the true share is above ``bound``, in the same sense."""
    return events > bound * of and _at_least(events, of, bound) <= 1 - confidence


def needed(events: int, bound: float, confidence: float) -> int:
    """How many requests it takes to prove a share below ``bound`` when so many events are among them.

    ``bound`` is above 0.
    """
    short, enough = events, events + 1
    while not proven_below(events, enough, bound, confidence):
        short, enough = enough, 2 * enough
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if proven_below(events, middle, bound, confidence) else (middle, enough)
    return enough


def lower_bound(events: int, of: int, confidence: float) -> float:
    """The highest share that the true one is proven to be above; 0 where nothing is proven."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if proven_above(events, of, middle, confidence) else (low, middle)
    return low


def upper_bound(events: int, of: int, confidence: float) -> float:
    """The lowest share that the true one is proven to be below; 1 where nothing is proven."""
    return 1 - lower_bound(of - events, of, confidence)


def as_expected(hits: int, of: int, share: float, confidence: float) -> bool:
    """Whether so many hits are what chance gives when each request is one with a probability of ``share``.

    They are not when so few, or so many, have a probability of at most half of 1 - ``confidence``.
    """
    return min(_at_most(hits, of, share), _at_least(hits, of, share)) > (1 - confidence) / 2


def _at_least(events: int, of: int, share: float) -> float:
    return _at_most(of - events, of, 1 - share)


def _at_most(events: int, of: int, share: float) -> float:
    """P(X <= events) for X among ``of``, each with a probability of ``share``."""
    if events >= of:
        return 1.0
    if events < 0 or share >= 1:
        return 0.0
    if share <= 0:
        return 1.0
    if events < of * share:
        return _tail(events, of, share)
    return 1 - _tail(of - events - 1, of, 1 - share)


def _tail(events: int, of: int, share: float) -> float:
    """P(X <= events) for events below the mean: from the largest term down, until the rest adds nothing."""
    term = total = 1.0
    odds = (1 - share) / share
    for number in range(events, 0, -1):
        term *= number / (of - number + 1) * odds
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return min(1.0, total * math.exp(_log_probability(events, of, share)))


def _log_probability(events: int, of: int, share: float) -> float:
    ways = math.lgamma(of + 1) - math.lgamma(events + 1) - math.lgamma(of - events + 1)
    return ways + events * math.log(share) + (of - events) * math.log1p(-share)
