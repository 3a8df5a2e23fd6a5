"""Starting the contenders' programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab.servers.postgres_server import wheel_binaries


class NotMeasured(Exception):
    """A contender that this machine does not have, or that did not do its work; the message says what is wrong."""


def of_postgres(program: str) -> str:
    """psql, pg_dump and the like, of the servers' own version."""
    return str(wheel_binaries() / "bin" / program)


def found(program: str, *hints: str) -> str:
    """A program on PATH or at one of the paths in ``hints``. Raises NotHere."""
    for candidate in (shutil.which(program), *hints):
        if candidate and Path(candidate).exists():
            return candidate
    raise NotMeasured(f"{program} is not installed")


def run(
    command: Sequence[str],
    *,
    given: bytes = b"",
    environment: dict[str, str] | None = None,
    directory: Path | None = None,
) -> bytes:
    """Runs a program to its end and gives what it printed. Raises NotHere with its last words if it fails."""
    ended = subprocess.run(
        command,
        input=given,
        capture_output=True,
        cwd=directory,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).decode(errors="replace").strip().splitlines()
        raise NotMeasured(f"{Path(command[0]).name} ended with {ended.returncode}: {' | '.join(said[-3:])}")
    return ended.stdout


def run_verb(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """One verb of the runbook in a process of its own; see ``benchmark.verb``."""
    answer = run([sys.executable, "-m", "benchmark.verb", name], given=json.dumps(parameters).encode())
    said: dict[str, Any] = json.loads(answer)
    return said


def pipe(giver: Sequence[str], taker: Sequence[str], giving: dict[str, str], taking: dict[str, str]) -> None:
    """``giver | taker``, each with its own environment. Raises NotHere if either fails."""
    with (
        subprocess.Popen(giver, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **giving}) as first,
        subprocess.Popen(
            taker, stdin=first.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **taking}
        ) as second,
    ):
        assert first.stdout is not None
        first.stdout.close()
        said = second.communicate()[1] + (first.stderr.read() if first.stderr else b"")
    if first.returncode or second.returncode:
        raise NotMeasured(f"psql | psql: {said.decode(errors='replace').strip()}")


def at_once(streams: int, acts: Sequence[Callable[[], None]]) -> None:
    """Does every act, ``streams`` at a time, in their order; the first error is raised when all have ended."""
    with ThreadPoolExecutor(streams) as pool:
        for future in [pool.submit(act) for act in acts]:
            future.result()
