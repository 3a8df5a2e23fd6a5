"""Atomic file writes: a reader sees the old file or the complete new one, even after a crash."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from task_migration.errors import Failed


def write(path: Path, text: str, *, private: bool = False) -> Path:
    """Writes ``text`` to ``path`` in one step, and creates the folder if it is missing.

    ``private``: only its owner can read the file, from the first moment on. Raises Failed if it cannot be written.
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
    """Appends one line to the file at ``path``, unless ``unless`` returns True for the lines that are in it.

    A file lock makes check and append one step for all writers that use this function. If a crash left the last line
    incomplete, a line break is added first, so that the new line stays separate. Returns whether the line was added.
    Raises Failed if the file cannot be written.
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
    """Returns paths ``<name>-<UTC time><suffix>``, one for each suffix, none of which exists yet."""
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
            f"the file {path} could not be written",
            measured=error.strerror or str(error),
            next_step="correct the folder in the inventory (such as report_directory), or free disk space there; "
            "then run the same command again",
        ) from error
