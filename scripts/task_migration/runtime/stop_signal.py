"""A stop flag that is safe to set from a signal handler; every wait returns as soon as it is set."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress


class Stop:
    """A flag that is set once and never cleared. Waits read a pipe, because a threading.Event is not safe to set in a
    signal handler."""

    def __init__(self) -> None:
        self._wanted = False
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)

    def __bool__(self) -> bool:
        return self._wanted

    def on_signals(self, *signals: signal.Signals) -> Stop:
        """Sets the flag when this process gets one of these signals. Call it in the main thread only."""
        # Without it, a signal that arrives just before a wait starts would not end the wait.
        signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        for one in signals:
            signal.signal(one, lambda *_: self.set())
        return self

    def set(self) -> None:
        self._wanted = True
        with suppress(BlockingIOError):
            os.write(self._in, b".")

    def wait(self, seconds: float) -> bool:
        """Waits ``seconds``, or until the flag is set. Returns whether it is set."""
        if not self._wanted:
            select.select([self._out], [], [], seconds)
        return self._wanted

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
