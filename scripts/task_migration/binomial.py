"""The exact binomial test: what a number of events among a number of requests proves about the true share.

Pure functions. Shares and confidences are between 0 and 1. A tail is summed from its largest term on, and each term is
computed from the one before, so a hundred million requests take only a few milliseconds.
"""

from __future__ import annotations

import math

_NEGLIGIBLE = 1e-17
_HALVINGS = 30


def proven_below(events: int, of: int, bound: float, confidence: float) -> bool:
    """Returns whether it is proven that the true share is below ``bound``.

    It is proven if a true share of ``bound`` would produce so few events with a probability of at most
    1 - ``confidence``, and the observed share is below ``bound`` too. A confidence below one half does not imply the
    latter.
    """
    return events < bound * of and _at_most(events, of, bound) <= 1 - confidence


def proven_above(events: int, of: int, bound: float, confidence: float) -> bool:
    """Returns whether it is proven that the true share is above ``bound``, in the same sense."""
    return events > bound * of and _at_least(events, of, bound) <= 1 - confidence


def needed(events: int, bound: float, confidence: float) -> int:
    """Returns how many requests are needed to prove a share below ``bound`` if ``events`` of them are events.

    ``bound`` must be above 0.
    """
    short, enough = events, events + 1
    while not proven_below(events, enough, bound, confidence):
        short, enough = enough, 2 * enough
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if proven_below(events, middle, bound, confidence) else (middle, enough)
    return enough


def lower_bound(events: int, of: int, confidence: float) -> float:
    """Returns the highest share that the true share is proven to exceed; 0 if nothing is proven."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if proven_above(events, of, middle, confidence) else (low, middle)
    return low


def upper_bound(events: int, of: int, confidence: float) -> float:
    """Returns the lowest share that the true share is proven to be below; 1 if nothing is proven."""
    return 1 - lower_bound(of - events, of, confidence)


def as_expected(hits: int, of: int, share: float, confidence: float) -> bool:
    """Returns whether the number of hits agrees with each request being a hit with the probability ``share``.

    It does not if so few or so many hits have a probability of at most half of 1 - ``confidence``.
    """
    return min(_at_most(hits, of, share), _at_least(hits, of, share)) > (1 - confidence) / 2


def _at_least(events: int, of: int, share: float) -> float:
    return _at_most(of - events, of, 1 - share)


def _at_most(events: int, of: int, share: float) -> float:
    """Returns P(X <= events) for ``of`` requests, each an event with the probability ``share``."""
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
    """Returns P(X <= events) for events below the mean: summed from the largest term down to a negligible one."""
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
