"""Runs the contenders' programs."""

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
    """A contender is missing on this machine, or did not do its work. The message describes the problem."""


def postgres_program(program: str) -> str:
    """Returns the path of psql, pg_dump and so on, in the servers' version."""
    return str(wheel_binaries() / "bin" / program)


def program_path(program: str, *hints: str) -> str:
    """Returns the path of a program on PATH or in ``hints``. Raises NotMeasured."""
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
    """Runs a program and returns its output. Raises NotMeasured with its last lines if it fails."""
    ended = subprocess.run(
        command,
        input=given,
        capture_output=True,
        cwd=directory,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if ended.returncode != 0:
        output = (ended.stderr or ended.stdout).decode(errors="replace").strip().splitlines()
        raise NotMeasured(f"{Path(command[0]).name} exited with code {ended.returncode}: {' | '.join(output[-3:])}")
    return ended.stdout


def run_verb(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Runs one core function in its own process; see ``benchmark.verb``."""
    answer = run([sys.executable, "-m", "benchmark.verb", name], given=json.dumps(parameters).encode())
    output: dict[str, Any] = json.loads(answer)
    return output


def pipe(giver: Sequence[str], taker: Sequence[str], giving: dict[str, str], taking: dict[str, str]) -> None:
    """Runs ``giver | taker``, each with its own environment. Raises NotMeasured if either fails."""
    with (
        subprocess.Popen(giver, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **giving}) as first,
        subprocess.Popen(
            taker, stdin=first.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **taking}
        ) as second,
    ):
        assert first.stdout is not None
        first.stdout.close()
        output = second.communicate()[1] + (first.stderr.read() if first.stderr else b"")
    if first.returncode or second.returncode:
        raise NotMeasured(f"psql | psql: {output.decode(errors='replace').strip()}")


def at_once(streams: int, acts: Sequence[Callable[[], None]]) -> None:
    """Runs the acts in order, ``streams`` at a time. Raises the first error after all have ended."""
    with ThreadPoolExecutor(streams) as pool:
        for future in [pool.submit(act) for act in acts]:
            future.result()
