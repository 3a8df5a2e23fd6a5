"""A request to stop that a signal may make at any moment, and that every wait ends for."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress


class Stop:
    """Set once, never unset. Waits for it are on a pipe: threading.Event is not safe to set from a signal's handler."""

    def __init__(self) -> None:
        self._wanted = False
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)

    def __bool__(self) -> bool:
        return self._wanted

    def on_signals(self, *signals: signal.Signals) -> Stop:
        """Lets these signals of this process mean it; a second one says nothing new. In the main thread only."""
        # Python's own handler would be late for a signal that comes just before a wait begins.
        signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        for one in signals:
            signal.signal(one, lambda *_: self.set())
        return self

    def set(self) -> None:
        self._wanted = True
        with suppress(BlockingIOError):
            os.write(self._in, b".")

    def wait(self, seconds: float) -> bool:
        """Waits so many seconds, or less if it is set; says whether it is."""
        if not self._wanted:
            select.select([self._out], [], [], seconds)
        return self._wanted

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
