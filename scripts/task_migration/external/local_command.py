"""Runs a configured command on this machine, without a shell and with a time limit."""

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
class LocalCommandResult:
    """The result of a command. ``problem`` is "" if its exit code was 0; ``answer`` is the start of its output.

    Its stderr is discarded, because it might contain secrets.
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
) -> LocalCommandResult:
    """Runs the command in ``directory`` ("" for the current one) with additional ``environment`` variables.

    At the time limit it is killed. Its input and output are files, not pipes, so a child process that it leaves running
    does not block the caller.
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
            return LocalCommandResult(f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}")
        try:
            code = process.wait(timeout_seconds)
            problem = "" if code == 0 else f"exit code {code}" if code > 0 else f"ended by signal {-code}"
        except subprocess.TimeoutExpired:
            _end(process)
            problem = f"still running after {timeout_seconds:g} s, so it was killed"
        except BaseException:
            _end(process)
            raise
        printed.seek(0)
        return LocalCommandResult(problem, printed.read(LONGEST_ANSWER_BYTES).decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and its children, which are in one process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
