"""The run log: what every run of a playbook did, as JSON lines on its machine, in addition to the journal.

There is one line for the start of a run, one for each step, and one for the end. A run without an end was interrupted
or killed, or is still running. The lines of steps that wrote to the journal contain its marks, so that a replaced
journal is detected.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from task_migration.control import checklist, journal
from task_migration.external import masking

FILE = "runs.jsonl"
MODE = 0o600
# Only the last part of the file is read, so that reading stays fast for years.
LOOK_BACK_BYTES = 2_000_000
LONGEST_DETAILS = 64_000

State = Literal["ok", "failed", "running", "killed", "unknown"]


@dataclass(frozen=True)
class Run:
    """One run of a playbook. ``state`` is unknown if its end is missing and it ran on another machine.

    ``acted``: it held the operator's lock, so it may have changed something. ``last_step``: the last finished step, ""
    if there is none.
    """

    run: str
    playbook: str
    operator: str
    host: str
    command: str
    began: datetime
    ended: datetime | None = None
    state: State = "unknown"
    acted: bool = False
    last_step: str = ""

    @property
    def who(self) -> str:
        return f"{self.operator}@{self.host}"


class Recorder:
    """Writes the lines of one run to ``directory``. Raises OSError if it cannot.

    Each line is one write and is not flushed to disk separately: no line is lost when the process is killed.
    """

    def __init__(self, directory: Path, playbook: str, *, command: str, check: bool) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = os.open(directory / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        self._run = uuid.uuid4().hex
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # separates the new line from one that a crash cut short
        self._write(
            "begin",
            playbook=playbook,
            operator=getpass.getuser(),
            host=socket.gethostname(),
            pid=os.getpid(),
            process=_process(os.getpid()),
            command=command,
            check=check,
        )

    def step(
        self,
        playbook: str,
        *,
        task: str,
        module: str,
        result: str,
        check: bool,
        message: str,
        details: Mapping[str, Any],
    ) -> None:
        """Records one step. ``result``: changed, ok, failed or skipped; with ``check``, what it would have been."""
        self._write(
            "step",
            playbook=playbook,
            phase=checklist.phase_of(playbook),
            task=task,
            module=module,
            result=result,
            check=check,
            message=masking.masked(message),
            details=details if len(json.dumps(details, default=str)) <= LONGEST_DETAILS else {},
        )

    def end(self, result: str, counts: Mapping[str, int]) -> None:
        """Records the end of the run, ok or failed. ``counts``: the number of steps by result."""
        self._write("end", result=result, counts=dict(counts))
        os.close(self._file)

    def _write(self, event: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "run": self._run, "event": event, **fields}
        os.write(self._file, (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode("utf-8", "replace"))


def runs(directory: str | Path) -> list[Run]:
    """Returns the runs in ``directory``, in the order of their start. Lines cut short by a crash are ignored."""
    found: dict[str, Run] = {}
    for line in _lines(directory):
        try:
            name, at = line["run"], datetime.fromisoformat(line["time"])
            if line["event"] == "begin":
                state = _unended(line["host"], line["pid"], line["process"])
                who = (line["operator"], line["host"], line["command"])
                found[name] = Run(name, line["playbook"], *who, began=at, state=state)
            elif name in found and line["event"] == "step":
                holds = line["module"] == "operator_lock" and line["result"] == "ok" and not line["check"]
                found[name] = replace(found[name], last_step=line["task"], acted=found[name].acted or holds)
            elif name in found and line["event"] == "end":
                found[name] = replace(found[name], ended=at, state=line["result"])
        except (KeyError, TypeError, ValueError):
            continue
    return list(found.values())


def left_unended(directory: str | Path) -> Run | None:
    """Returns the last run that may have changed something, if it is not running and did not finish; else None."""
    acted = [run for run in runs(directory) if run.acted]
    return acted[-1] if acted and acted[-1].state in ("killed", "unknown") else None


def marks(directory: str | Path) -> list[journal.EntryHash]:
    """Returns the last mark of each journal that the runs wrote to; its hash covers all entries before it."""
    found = {}
    for line in _lines(directory):
        details = line.get("details") if line.get("module") == "journal" else None
        if isinstance(details, dict) and isinstance(details.get("id"), int):
            name, value = details.get("journal"), details.get("hash")
            if isinstance(name, str) and isinstance(value, str):
                found[name] = journal.EntryHash(name, details["id"], value)
    return list(found.values())


def _lines(directory: str | Path) -> Iterator[dict[str, Any]]:
    try:
        with (Path(directory) / FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOOK_BACK_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return
    for line in text.split("\n"):  # not splitlines: a JSON string may contain other line separators
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict):
            yield fields


def _unended(host: str, pid: int, process: str) -> State:
    """Returns the state of a run without an end: running while its process exists."""
    if host != socket.gethostname():
        return "unknown"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "killed"
    except PermissionError:
        pass  # the process exists and belongs to another user
    return "running" if _process(pid) == process else "killed"


def _process(pid: int) -> str:
    """Returns the start time of a process, which distinguishes it from a later one with the same pid; "" if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
