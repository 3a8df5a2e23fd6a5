"""The one retry function: its waits, its bounds, and what it returns or raises when it gives up."""

from __future__ import annotations

import pytest
from task_migration.external.retry import Backoff, retried


class Busy(Exception):
    pass


def act(*results):
    """Returns a function that returns or raises these, one at each call."""
    left = list(results)

    def one():
        result = left.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    return one


@pytest.fixture
def slept():
    return []


STEADY = Backoff(1.0, 8.0)


def test_a_first_success_waits_for_nothing(slept):
    assert retried(act(7), backoff=STEADY, on=Busy, attempts=3, sleep=slept.append) == 7
    assert slept == []


def test_an_error_is_retried_until_it_is_gone(slept):
    assert retried(act(Busy(), Busy(), 7), backoff=STEADY, on=Busy, attempts=3, sleep=slept.append) == 7
    assert slept == [1.0, 2.0]


def test_another_error_is_raised_at_once(slept):
    with pytest.raises(ValueError, match="other"):
        retried(act(ValueError("other"), 7), backoff=STEADY, on=Busy, attempts=3, sleep=slept.append)
    assert slept == []


def test_the_last_error_is_raised_when_the_attempts_are_used_up(slept):
    errors = [Busy("first"), Busy("second"), Busy("last")]
    with pytest.raises(Busy, match="last"):
        retried(act(*errors, 7), backoff=STEADY, on=Busy, attempts=3, sleep=slept.append)
    assert slept == [1.0, 2.0]


def test_a_result_is_asked_for_again_until_it_satisfies(slept):
    found = retried(act(1, 2, 3, 4), backoff=STEADY, until=lambda number: number > 2, attempts=9, sleep=slept.append)
    assert found == 3
    assert slept == [1.0, 2.0]


def test_the_last_result_is_returned_when_the_attempts_are_used_up(slept):
    assert retried(act(1, 2, 3), backoff=STEADY, until=lambda _: False, attempts=2, sleep=slept.append) == 2
    assert slept == [1.0]


def test_the_last_result_is_returned_when_the_time_is_used_up():
    calls = []
    found = retried(
        lambda: calls.append(1) or len(calls),
        backoff=Backoff(0.01, 0.01),
        until=lambda _: False,
        seconds=0.05,
    )
    assert found == len(calls)
    assert 2 <= found <= 6


def test_without_a_bound_it_never_gives_up(slept):
    assert retried(act(*[False] * 500, True), backoff=STEADY, until=bool, sleep=slept.append) is True
    assert slept[3:] == [8.0] * 497


def test_an_interrupt_is_never_retried():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retried(interrupted, backoff=STEADY, on=Exception, attempts=3)


def test_waits_grow_by_their_factor_up_to_the_longest():
    backoff = Backoff(0.5, 10.0, factor=1.5)
    assert [round(backoff.seconds(failures), 3) for failures in range(1, 10)] == [
        *(0.5, 0.75, 1.125, 1.688, 2.531, 3.797, 5.695, 8.543, 10.0)
    ]
    assert backoff.seconds(10**9) == 10.0


@pytest.mark.parametrize("jitter", [0.5, 1.0])
def test_jitter_spreads_a_wait_over_its_share(jitter):
    waits = [Backoff(1.0, 8.0, jitter=jitter).seconds(3) for _ in range(500)]
    low, spread = 4.0 * (1 - jitter), 4.0 * jitter
    assert low <= min(waits) < low + spread / 5
    assert 4.0 - spread / 5 < max(waits) <= 4.0
