"""What every run of a playbook did, as JSON lines on the machine that it ran on: beside the journal, out of its reach.

A line when a run begins, one for each step, one when it ends. A run without its last line was interrupted or killed, or
is at work still. The steps that wrote the journal hold its marks, so that a journal that was written anew is seen too.
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
# Whoever reads looks back this far and no further, so that it stays quick for years.
LOOK_BACK_BYTES = 2_000_000
LONGEST_DETAILS = 64_000

State = Literal["ok", "failed", "running", "killed", "unknown"]


@dataclass(frozen=True)
class Run:
    """One run of a playbook. ``state`` is unknown where the end is not there and another machine ran it.

    ``acted``: it held the operator's lock, so it may have changed something. ``last_step``: the last that came to its
    end, "" if none did.
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
    """Writes the lines of one run to ``directory``. Raises OSError where it can't.

    Lines are added whole and are not forced to the disk one by one: what is killed is a process, and that loses none.
    """

    def __init__(self, directory: Path, playbook: str, *, command: str, check: bool) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = os.open(directory / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        self._run = uuid.uuid4().hex
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # the line that a crash tore ends here
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
        """One step. ``result``: changed, ok, failed or skipped; with ``check`` what would have been."""
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
        """The run came to its end, ok or failed. ``counts``: of steps, by what became of them."""
        self._write("end", result=result, counts=dict(counts))
        os.close(self._file)

    def _write(self, event: str, **said: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "run": self._run, "event": event, **said}
        os.write(self._file, (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode("utf-8", "replace"))


def runs(directory: str | Path) -> list[Run]:
    """The runs whose lines are in ``directory``, in the order in which they began. A line that was torn is none."""
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
    """The last run that may have changed something, if it is not at work and never came to its end; else None."""
    acted = [run for run in runs(directory) if run.acted]
    return acted[-1] if acted and acted[-1].state in ("killed", "unknown") else None


def marks(directory: str | Path) -> list[journal.Mark]:
    """The last mark of each journal that the runs wrote to; it stands for all before it, as their hashes are in it."""
    found = {}
    for line in _lines(directory):
        said = line.get("details") if line.get("module") == "journal" else None
        if isinstance(said, dict) and isinstance(said.get("id"), int):
            name, value = said.get("journal"), said.get("hash")
            if isinstance(name, str) and isinstance(value, str):
                found[name] = journal.Mark(name, said["id"], value)
    return list(found.values())


def _lines(directory: str | Path) -> Iterator[dict[str, Any]]:
    try:
        with (Path(directory) / FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOOK_BACK_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return
    for line in text.split("\n"):  # not splitlines: JSON may hold other ends of lines as they are
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            yield said


def _unended(host: str, pid: int, process: str) -> State:
    """What a run is whose end is not there: at work for as long as that very process lives."""
    if host != socket.gethostname():
        return "unknown"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "killed"
    except PermissionError:
        pass  # it lives, and is another operator's
    return "running" if _process(pid) == process else "killed"


def _process(pid: int) -> str:
    """What tells a process from a later one of the same number: when it began. "" where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
