"""Progress on a screen and in a log."""

from __future__ import annotations

from ansible_collections.task_service.migration.plugins.plugin_utils.progress_line import (
    ProgressLine,
    clock,
    progress_text,
)
from task_migration.progress import Progress


class Screen:
    def __init__(self, in_terminal):
        self.written = []
        self.seconds = 10.0
        self.line = ProgressLine(self.write, in_terminal=in_terminal, now=lambda: self.seconds)

    def write(self, text, newline):
        self.written.append(text + ("\n" if newline else ""))

    def tell(self, done, total=1000, at=None, doing="copying tasks", note=""):
        self.seconds = self.seconds if at is None else at
        self.line(Progress(doing, done, total, "rows", self.seconds, note))


def test_a_log_gets_a_line_for_each_tenth():
    screen = Screen(in_terminal=False)
    for done in range(1001):
        screen.tell(done)
    assert len(screen.written) == 11
    assert all(line.endswith("\n") and "\r" not in line for line in screen.written)


def test_a_log_gets_a_line_every_thirty_seconds():
    screen = Screen(in_terminal=False)
    for second in range(301):
        screen.tell(1, at=10.0 + second)
    assert len(screen.written) == 11


def test_a_log_does_not_tell_what_is_over_in_a_moment():
    screen = Screen(in_terminal=False)
    screen.tell(1000, at=0.9)
    assert screen.written == []


def test_a_log_gets_a_line_when_the_work_or_the_note_changes():
    screen = Screen(in_terminal=False)
    for doing, note in (("a", ""), ("a", "paused"), ("a", "paused"), ("b", "paused")):
        screen.tell(1, doing=doing, note=note)
    assert len(screen.written) == 3


def test_a_terminal_gets_one_line_that_is_drawn_again_and_cleared_at_the_end():
    screen = Screen(in_terminal=True)
    for step in range(100):
        screen.tell(step, at=step / 10)
    screen.line.close()
    assert all(text.startswith("\r") and "\n" not in text for text in screen.written)
    assert 40 <= len(screen.written) <= 60
    assert screen.written[-1] == "\r\x1b[K"


def test_a_line_says_how_much_how_fast_and_how_long_still():
    text = progress_text(Progress("copying tasks", 250_000, 1_000_000, "tasks", 2.5, "paused"))
    assert text == "copying tasks: 25 %, 250,000 of 1,000,000 tasks, 100,000/s, 8 s left, paused"


def test_work_of_unknown_size_says_how_long_it_has_run():
    assert progress_text(Progress("waiting", 0, 0, "", 75)) == "waiting: 1 min 15 s"


def test_times_are_said_in_the_units_of_people():
    assert [clock(s) for s in (0.4, 59, 61, 3661)] == ["0 s", "59 s", "1 min 01 s", "1 h 01 min"]
