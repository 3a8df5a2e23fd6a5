"""A command of the operator's own choice, run on this machine: no shell, and never for longer than it may take."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

LONGEST_ANSWER_BYTES = 10_000


@dataclass(frozen=True)
class Ran:
    """How a command ended. ``problem`` is "" if it ended with 0; ``answer`` the beginning of what it printed.

    What it says on stderr is not kept: nobody knows what a command of somebody else's says there.
    """

    problem: str
    answer: str = ""


def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    directory: str = "",
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> Ran:
    """Runs it in ``directory`` ("" for this one) with more ``environment``; at the time limit it is killed.

    Its input and output are files, not pipes: a child that it leaves behind can keep nobody waiting.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed:
        given.write(stdin.encode())
        given.seek(0)
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=directory or None,
                env={**os.environ, **(environment or {})},
                stdin=given,
                stdout=printed,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return Ran(f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}")
        try:
            code = process.wait(timeout_seconds)
            problem = "" if code == 0 else f"exit code {code}" if code > 0 else f"ended by signal {-code}"
        except subprocess.TimeoutExpired:
            _end(process)
            problem = f"still running after {timeout_seconds:g} s, ended"
        except BaseException:
            _end(process)
            raise
        printed.seek(0)
        return Ran(problem, printed.read(LONGEST_ANSWER_BYTES).decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills it and its children: it leads a group of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
