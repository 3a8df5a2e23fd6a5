"""What the traffic remembers: one JSON line for each request, written as soon as its answer is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

AnsweringSide = Literal["laravel", "task_service"]
RequestOutcome = Literal["acknowledged", "unchanged", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class LedgerRequest:
    """One request: a write, or a read, whose ``verb`` is "read".

    ``side``     which one answered; "" if nobody knows, since the gateway picked it and no answer tells;
    ``fields``   what it sets, by name: the answer's values if there was one, else those that were asked for. A task
                 that is deleted or restored has ``deleted``, an image that is added or removed ``image <id>``;
    ``marker``   begins the title of the task as long as it lives, and is in no other task. What stands before its
                 hyphen is the run's. A read of no task in particular has the run's alone;
    ``task``     None for a create that was not acknowledged, and for a read of no task in particular;
    ``sent``, ``answered``  seconds since 1970; a write of unknown outcome may still happen after ``answered``;
    ``outcome``  ``unchanged``: acknowledged, but there was nothing to write. ``refused``: not done, the app says so.
                 ``unknown``: no answer, or none that can be understood;
    ``status``   of HTTP; 0 if none came.
    """

    side: AnsweringSide | Literal[""]
    verb: str
    task: int | None
    marker: str
    user: str
    fields: dict[str, Any]
    sent: float
    answered: float
    outcome: RequestOutcome
    status: int = 0

    @property
    def writes(self) -> bool:
        return self.verb != "read"

    @property
    def failed(self) -> bool:
        """Whether the user did not get what she asked for."""
        return self.outcome in ("refused", "unknown")

    @property
    def run(self) -> str:
        return self.marker.partition("-")[0]

    @property
    def ends(self) -> float:
        """When it was done at the latest."""
        return float("inf") if self.outcome == "unknown" else self.answered


class Ledger:
    """A file that grows by whole lines; what an earlier run wrote stays, but for a last line that a kill cut off."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            with file.open("r+b") as earlier:
                earlier.truncate(earlier.read().rfind(b"\n") + 1)
        self._file = file.open("a", encoding="utf-8", buffering=1)

    def keep(self, request: LedgerRequest) -> None:
        self._file.write(json.dumps(asdict(request), ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


def read(file: Path) -> Iterator[LedgerRequest]:
    """Every request of the file. A last line that is being written, or was cut off by a kill, is passed over."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield LedgerRequest(**json.loads(line))
