"""What so many events prove: against exact fractions, published tables and the closed forms, at every size."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from statistics import NormalDist

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from task_migration import binomial

SHARES = st.fractions(min_value=Fraction(1, 1000), max_value=Fraction(999, 1000), max_denominator=1000)


@st.composite
def seen(draw: st.DrawFn) -> tuple[int, int]:
    """So many events, of so many."""
    of = draw(st.integers(1, 60))
    return draw(st.integers(0, of)), of


def exactly_at_most(events: int, of: int, share: Fraction) -> Fraction:
    return sum(
        (math.comb(of, one) * share**one * (1 - share) ** (of - one) for one in range(events + 1)), start=Fraction(0)
    )


@given(seen(), SHARES)
def test_the_tails_are_those_of_exact_fractions(seen: tuple[int, int], share: Fraction) -> None:
    events, of = seen
    at_most = exactly_at_most(events, of, share)
    at_least = 1 - exactly_at_most(events - 1, of, share)
    assert binomial._at_most(events, of, float(share)) == pytest.approx(float(at_most), rel=1e-9)
    assert binomial._at_least(events, of, float(share)) == pytest.approx(float(at_least), rel=1e-9)


@given(seen(), SHARES, st.sampled_from([Fraction(1, 20), Fraction(1, 2), Fraction(95, 100), Fraction(999, 1000)]))
def test_a_claim_is_proven_exactly_when_the_fractions_say_so(
    seen: tuple[int, int], share: Fraction, confidence: Fraction
) -> None:
    events, of = seen
    at_most, at_least = exactly_at_most(events, of, share), 1 - exactly_at_most(events - 1, of, share)
    doubt = 1 - confidence
    assume(all(abs(one - other) > 1e-9 for one in (at_most, at_least) for other in (doubt, doubt / 2)))
    assume(abs(events - share * of) > 1e-9)
    given_as = float(share), float(confidence)
    assert binomial.proven_below(events, of, *given_as) == (at_most <= doubt and events < share * of)
    assert binomial.proven_above(events, of, *given_as) == (at_least <= doubt and events > share * of)
    assert binomial.as_expected(events, of, *given_as) == (min(at_most, at_least) > doubt / 2)


@pytest.mark.parametrize(
    ("events", "of", "low", "high"),
    [
        # Two-sided 95 % limits of Clopper and Pearson, as tables print them.
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (5, 100, 0.0164, 0.1128),
        (10, 100, 0.0490, 0.1762),
        (50, 100, 0.3983, 0.6017),
    ],
)
def test_the_bounds_are_those_of_clopper_and_pearson(events: int, of: int, low: float, high: float) -> None:
    assert binomial.proven_below(events, of, high + 0.0001, 0.975)
    assert not binomial.proven_below(events, of, high - 0.0001, 0.975)
    assert not binomial.proven_above(events, of, low + 0.0001, 0.975)
    assert events == 0 or binomial.proven_above(events, of, low - 0.0001, 0.975)
    assert binomial.lower_bound(events, of, 0.975) == pytest.approx(low, abs=0.0001)
    assert binomial.upper_bound(events, of, 0.975) == pytest.approx(high, abs=0.0001)


@pytest.mark.parametrize(
    ("events", "bound", "confidence", "requests"),
    [
        (0, 0.001, 0.95, 2_995),
        (0, 0.05, 0.95, 59),
        (0, 0.001, 0.05, 52),
        (0, 0.05, 0.06, 2),
        (0, 1.0, 0.95, 1),
        (3, 1.0, 0.95, 4),
        # Chi-squared tables: 4.744, 6.296 and 16.962 expected events are the 95 % bound beside 1, 2 and 10.
        (1, 0.0001, 0.95, pytest.approx(47_439, abs=3)),
        (2, 0.0001, 0.95, pytest.approx(62_958, abs=3)),
        (10, 0.0001, 0.95, pytest.approx(169_622, abs=5)),
    ],
)
def test_a_claim_takes_so_many_requests(events: int, bound: float, confidence: float, requests: int) -> None:
    assert binomial.needed(events, bound, confidence) == requests


@given(st.integers(0, 200), st.floats(1e-5, 0.9), st.floats(0.01, 0.99999))
def test_that_many_prove_it_and_one_less_does_not(events: int, bound: float, confidence: float) -> None:
    requests = binomial.needed(events, bound, confidence)
    assert binomial.proven_below(events, requests, bound, confidence)
    assert not binomial.proven_below(events, requests - 1, bound, confidence)


@given(seen(), SHARES, st.floats(0.01, 0.999))
def test_nothing_is_both_below_and_above(seen: tuple[int, int], share: Fraction, confidence: float) -> None:
    assert not (
        binomial.proven_below(*seen, float(share), confidence)
        and binomial.proven_above(*seen, float(share), confidence)
    )


def test_little_confidence_is_no_leave_to_be_above_the_bound() -> None:
    """4 of 2,000 is twice the bound, and yet a share of 0.1 % shows more than so few in 5 % of all cases."""
    assert exactly_at_most(4, 2000, Fraction(1, 1000)) < Fraction(95, 100)
    assert not binomial.proven_below(4, 2000, 0.001, 0.05)
    assert binomial.proven_below(1, 2000, 0.001, 0.05)


def test_no_requests_prove_nothing() -> None:
    assert not binomial.proven_below(0, 0, 0.001, 0.95)
    assert not binomial.proven_above(0, 0, 0.001, 0.95)
    assert (binomial.lower_bound(0, 0, 0.95), binomial.upper_bound(0, 0, 0.95)) == (0, 1)
    assert binomial.as_expected(0, 0, 0.25, 0.999)


@pytest.mark.parametrize(
    ("hits", "of", "share", "expected"),
    [
        (310, 1234, 0.25, True),
        (0, 1234, 0.25, False),
        (0, 20, 0.05, True),
        (5, 1000, 0.05, False),
        (120, 1000, 0.05, False),
        (1000, 1000, 1.0, True),
        (999, 1000, 1.0, False),
        (0, 1000, 0.0, True),
        (1, 1000, 0.0, False),
        (1001, 1000, 0.25, False),
    ],
)
def test_hits_are_as_expected_within_what_chance_gives(hits: int, of: int, share: float, expected: bool) -> None:
    assert binomial.as_expected(hits, of, share, 0.999) is expected


@pytest.mark.parametrize("share", [1e-5, 0.001, 0.05, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("of", [10_000_000, 100_000_000])
@pytest.mark.parametrize("deviations", [-3, -1, 0, 1, 3])
def test_a_hundred_million_requests_are_judged_well_and_at_once(share: float, of: int, deviations: int) -> None:
    spread = math.sqrt(of * share * (1 - share))
    events = round(of * share + deviations * spread)
    began = time.process_time()
    at_most, at_least = binomial._at_most(events, of, share), binomial._at_least(events, of, share)
    assert time.process_time() - began < 0.25
    # Skewness is what the normal law leaves out; it fades with the root of the expected events.
    close = 0.3 * max(1, abs(deviations)) ** 3 / math.sqrt(of * min(share, 1 - share))
    above_mean = (events - of * share) / spread
    assert at_most == pytest.approx(NormalDist().cdf(above_mean + 0.5 / spread), rel=close)
    assert at_least == pytest.approx(NormalDist().cdf(0.5 / spread - above_mean), rel=close)


def test_many_events_are_no_trouble() -> None:
    requests = binomial.needed(100_000, 0.001, 0.95)
    # Poisson's upper limit for so many: k + 1.645 * sqrt(k), nearly.
    assert requests / 1000 == pytest.approx(100_000 + 1.645 * math.sqrt(100_000), rel=1e-4)
