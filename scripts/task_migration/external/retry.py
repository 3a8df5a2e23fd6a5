"""Retries an action, with waits that grow and are jittered: one policy for every loop, carried out by tenacity."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Backoff:
    """The waits between attempts, in seconds: ``first``, then ``factor`` times the wait before, up to ``longest``.

    ``jitter`` is the share of each wait that is random (0 to 1), so that two processes that collided do not collide
    again.
    """

    first: float
    longest: float
    factor: float = 2.0
    jitter: float = 0.0

    def seconds(self, failures: int) -> float:
        """Returns how long to wait after this many failures in a row; ``failures`` is 1 or more."""
        full: float = min(self.longest, self.first * self.factor ** min(failures - 1, 100))
        return full * random.uniform(1 - self.jitter, 1)


def retried(
    act: Callable[[], Result],
    *,
    backoff: Backoff,
    on: type[Exception] | tuple[type[Exception], ...] = (),
    until: Callable[[Result], bool] = lambda _: True,
    attempts: int | None = None,
    seconds: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Calls ``act`` until it raises none of ``on`` and its result satisfies ``until``.

    Gives up after so many ``attempts``, or after the first attempt that ends later than ``seconds`` after the start;
    without either it never does. Then it returns the last result, which does not satisfy ``until``, or raises the last
    error. Any other error is raised at once.
    """
    # Loaded here: most commands never retry anything.
    import tenacity.stop

    def last(state: tenacity.RetryCallState) -> Result:
        assert state.outcome is not None
        result: Result = state.outcome.result()
        return result

    stops: list[tenacity.stop.stop_base] = []
    if attempts is not None:
        stops.append(tenacity.stop_after_attempt(attempts))
    if seconds is not None:
        stops.append(tenacity.stop_after_delay(seconds))
    retrying = tenacity.Retrying(
        stop=tenacity.stop_any(*stops),
        wait=lambda state: backoff.seconds(state.attempt_number),
        retry=tenacity.retry_if_exception_type(on) | tenacity.retry_if_not_result(until),
        sleep=sleep,
        retry_error_callback=last,
    )
    return retrying(act)
