"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One sign of life of a running verb.

    ``doing``         what is being done, a few words ("copying tasks");
    ``done``/``total``  in ``unit`` s; ``total`` may be an estimate, and 0 if unknown;
    ``seconds``       since the verb began;
    ``note``          anything else worth a few words ("paused: 14 active sessions on Laravel, allowed 8").
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
        """Seconds to go at the pace so far; None while that can't be told."""
        if self.total <= 0 or self.done <= 0 or self.seconds <= 0:
            return None
        return max(0.0, (self.total - self.done) / self.per_second)


Listener = Callable[[Progress], None]


def no_listener(_: Progress) -> None:
    """The listener of a caller that does not listen."""
