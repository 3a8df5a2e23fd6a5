"""The traffic's record: one JSON line for each request, written as soon as its answer is known."""

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

    ``side``     the side that answered; "" if unknown, because the gateway chose it and no answer names it; ``fields``
    the values that it sets, by name: from the answer if there was one, else from the request. A delete or
                 restore sets ``deleted``, an added or removed image ``image <id>``;
    ``marker``   the start of the task's title, unique to the task. The part before the hyphen identifies the run. A
    read
                 of a list has only that part;
    ``task``     None for a create that was not acknowledged, and for a read of a list; ``sent``, ``answered``  seconds
    since 1970; a write of unknown outcome may still happen after ``answered``; ``outcome``  ``unchanged``:
    acknowledged, but there was nothing to write. ``refused``: the application did not do it.
                 ``unknown``: no answer, or one that is not valid;
    ``status``   the HTTP status; 0 without an answer.
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
        """Returns whether the user did not get the requested result."""
        return self.outcome in ("refused", "unknown")

    @property
    def run(self) -> str:
        return self.marker.partition("-")[0]

    @property
    def ends(self) -> float:
        """Returns the latest time at which the request was done."""
        return float("inf") if self.outcome == "unknown" else self.answered


class Ledger:
    """Appends complete lines to a file. Lines of an earlier run remain, except a last line that was cut short."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            with file.open("r+b") as earlier:
                earlier.truncate(earlier.read().rfind(b"\n") + 1)
        self._file = file.open("a", encoding="utf-8", buffering=1)

    def append(self, request: LedgerRequest) -> None:
        self._file.write(json.dumps(asdict(request), ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


def read(file: Path) -> Iterator[LedgerRequest]:
    """Returns every request of the file. A last line that is incomplete is ignored."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield LedgerRequest(**json.loads(line))
