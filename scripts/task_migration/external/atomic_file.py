"""Files that are whole or not there: what a reader finds was written to its end, whatever was killed meanwhile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from task_migration.errors import Failed


def write(path: Path, text: str, *, private: bool = False) -> Path:
    """Puts ``text`` at ``path`` in one step, making the folder if need be; what stood there before stays until then.

    ``private``: nobody but its owner may ever read it. Raises Failed if the folder can't be written to.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with _translated_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            mode = 0o600 if private else 0o666
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _settle(path.parent)
    return path


def append(path: Path, line: str, *, unless: Callable[[list[str]], bool] = lambda _: False) -> bool:
    """Adds one line to the end of the file at ``path``, unless ``unless`` says no of the lines that are there.

    Looking and adding are one step for all who come this way. A line that a crash left half written is closed first,
    so that it can't swallow the new one. Gives True if the line was added; raises Failed if it can't be written.
    """
    with _translated_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = file.read()
            if unless(before.decode("utf-8", errors="replace").splitlines()):
                return False
            gap = b"\n" if before and not before.endswith(b"\n") else b""
            file.write(gap + line.encode("utf-8") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _settle(path.parent)
    return True


def unused(directory: Path, name: str, at: datetime, *suffixes: str) -> list[Path]:
    """Paths ``<name>-<UTC time><suffix>``, one for each suffix, none of which is taken."""
    stem = f"{name}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while True:
        paths = [directory / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}" for suffix in suffixes]
        if not any(path.exists() for path in paths):
            return paths
        number += 1


def _settle(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(
            f"{path} could not be written",
            measured=error.strerror or str(error),
            next_step="correct report_directory in the inventory, or make room there, then run the same command again",
        ) from error
