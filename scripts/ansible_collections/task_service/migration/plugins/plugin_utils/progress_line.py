"""Shows the progress of a running step: one line that redraws in a terminal, or a line now and then in a log."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from task_migration.progress import Progress

# Read once, when ansible-playbook's own process imports this (the callbacks do, before a worker is forked): in a
# worker no stream is a terminal. Under AWX the output is a log, even if it looks like a terminal.
IN_TERMINAL = sys.stdout.isatty() and "AWX_ISOLATED_DATA_DIR" not in os.environ

REDRAW_SECONDS = 0.2
LOG_AFTER_SECONDS = 1.0
LOG_SHARE = 0.10
LOG_SECONDS = 30.0

Write = Callable[[str, bool], None]


def clock(seconds: float) -> str:
    """Returns a duration as 45 s, 2 min 05 s or 1 h 02 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def progress_text(progress: Progress) -> str:
    """Returns the progress in one line: what, how much of how much, how fast, how long is left, and the note."""
    parts = []
    if progress.total > 0:
        share = min(100, 100 * progress.done // progress.total)
        parts.append(f"{share} %, {progress.done:,} of {progress.total:,} {progress.unit}".rstrip())
    elif progress.done > 0:
        parts.append(f"{progress.done:,} {progress.unit}".rstrip())
    if progress.per_second >= 1:
        parts.append(f"{progress.per_second:,.0f}/s")
    left = progress.seconds_left
    if left is not None and progress.done < progress.total:
        parts.append(f"{clock(left)} left")
    elif not parts:
        parts.append(clock(progress.seconds))
    if progress.note:
        parts.append(progress.note)
    return f"{progress.doing}: {', '.join(parts)}"


@dataclass
class ProgressLine:
    """A listener of the core. ``write(text, newline)`` prints text; ``in_terminal`` says whether that is a terminal.

    In a log it writes when the work changes, at every tenth of the work, at a new note, and at least every 30 seconds
    while there is progress; but nothing for work that takes less than a second.
    """

    write: Write
    in_terminal: bool = IN_TERMINAL
    now: Callable[[], float] = time.monotonic
    _doing: str = field(default="", init=False)
    _note: str = field(default="", init=False)
    _tenth: int = field(default=0, init=False)
    _at: float = field(default=float("-inf"), init=False)
    _drawn: bool = field(default=False, init=False)

    def __call__(self, progress: Progress) -> None:
        if self.in_terminal:
            self._redraw(progress)
        else:
            self._log(progress)

    def _redraw(self, progress: Progress) -> None:
        if self.now() - self._at < REDRAW_SECONDS and progress.doing == self._doing:
            return
        self._doing, self._at, self._drawn = progress.doing, self.now(), True
        width = shutil.get_terminal_size().columns - 1
        self.write(f"\r{('  ' + progress_text(progress))[:width]}\x1b[K", False)

    def _log(self, progress: Progress) -> None:
        tenth = int(progress.done / progress.total / LOG_SHARE + 1e-9) if progress.total > 0 else 0
        same = (progress.doing, progress.note) == (self._doing, self._note)
        if progress.seconds < LOG_AFTER_SECONDS:
            return
        if same and tenth <= self._tenth and self.now() - self._at < LOG_SECONDS:
            return
        self._doing, self._note, self._tenth, self._at = progress.doing, progress.note, tenth, self.now()
        self.write(f"  {progress_text(progress)}", True)

    def close(self) -> None:
        """Clears the line that was drawn, so that the next output begins at the left."""
        if self._drawn:
            self.write("\r\x1b[K", False)
            self._drawn = False
