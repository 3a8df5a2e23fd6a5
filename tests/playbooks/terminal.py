"""A command typed at a terminal, and the answer to what it asks."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from contextlib import suppress

import psutil

from .conftest import BIN


def typed(lab, words, asked, answer):
    """Runs it at a terminal, types the answer when ``asked`` is shown; all that was shown, and the exit code."""
    ours, theirs = pty.openpty()
    command = ["setsid", "--ctty", "--wait", str(BIN / "ansible-playbook"), *words, *lab.place]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "200"}
    with subprocess.Popen(
        command, cwd=lab.project / "playbooks", env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown, typed_at, deadline = "", 0.0, time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                with suppress(OSError):  # the other end is closed: it has ended
                    shown += os.read(ours, 4096).decode(errors="replace")
            # What is typed before the prompt has settled is thrown away, so it is typed again.
            if asked in shown and time.monotonic() > typed_at + 1:
                os.write(ours, b"c" if "Press 'C' to continue" in shown else f"{answer}\r".encode())
                typed_at = time.monotonic()
        hung = process.poll() is None
        if hung:  # its workers have sessions of their own, and outlive it
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.kill()
        code = process.wait(60)
    os.close(ours)
    assert typed_at, shown
    assert not hung, shown
    return shown, code
