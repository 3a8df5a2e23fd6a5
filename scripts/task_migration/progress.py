"""Progress reports of long-running work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One progress report of a running verb.

    ``doing``           what is being done, in a few words ("copying");
    ``done``, ``total`` in ``unit``; ``total`` may be an estimate, and is 0 if it is not known;
    ``seconds``         since the verb started;
    ``note``            a further remark ("paused: 14 active sessions on Laravel's database, allowed: 8").
    """

    doing: str
    done: int
    total: int
    unit: str
    seconds: float
    note: str = ""

    @property
    def per_second(self) -> float:
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Returns the estimated seconds that remain; None while there is no estimate."""
        if self.total <= 0 or self.done <= 0 or self.seconds <= 0:
            return None
        return max(0.0, (self.total - self.done) / self.per_second)


Listener = Callable[[Progress], None]


def no_listener(_: Progress) -> None:
    """Ignores the report; the default listener."""
