"""What the traffic remembers: one JSON line for each write, written as soon as its answer is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Side = Literal["laravel", "task_service"]
Outcome = Literal["acknowledged", "unchanged", "refused", "unknown"]


@dataclass(frozen=True)
class Write:
    """One request that writes.

    ``fields``   what it sets, by name: the answer's values if there was one, else those that were asked for. A task
                 that is deleted or restored has ``deleted``, an image that is added or removed ``image <id>``;
    ``marker``   begins the title of the task as long as it lives, and is in no other task;
    ``task``     None for a create that was not acknowledged;
    ``sent``, ``answered``  seconds since 1970; a write of unknown outcome may still happen after ``answered``;
    ``outcome``  ``unchanged``: acknowledged, but there was nothing to write. ``refused``: not done, the app says so.
                 ``unknown``: no answer, or none that can be understood;
    ``status``   of HTTP; 0 if none came.
    """

    side: Side
    verb: str
    task: int | None
    marker: str
    user: str
    fields: dict[str, Any]
    sent: float
    answered: float
    outcome: Outcome
    status: int = 0

    @property
    def ends(self) -> float:
        """When it was done at the latest."""
        return float("inf") if self.outcome == "unknown" else self.answered


class Ledger:
    """A file that grows by whole lines; what an earlier run wrote stays."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("a", encoding="utf-8", buffering=1)

    def keep(self, write: Write) -> None:
        self._file.write(json.dumps(asdict(write), ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


def read(file: Path) -> Iterator[Write]:
    """Every write of the file. A last line that was cut off by a kill is passed over."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield Write(**json.loads(line))
