"""What applications wrote and were told that it is kept, and the law about it once both sides have come to rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

SideName = Literal["laravel", "task_service"]
SAME_MOMENT_SECONDS = 5e-6
"""Log times go through a float and back."""
CLOCKS_SECONDS = 0.005
"""So well does a worker know how the clocks of both sides stand."""


@dataclass(frozen=True)
class Write:
    """One acknowledged write of one field of one row. ``at`` is its time on that side's log, in seconds since 1970.

    ``ends``: the row was taken away for good, with all that it held. ``spread``: the log knew of a tag only, and the
    task's own entry was made of it later.
    """

    side: SideName
    unit: str
    key: int
    field: str
    value: Any
    at: float
    ends: bool = False
    spread: bool = False


@dataclass(frozen=True)
class Superseded:
    """A log entry that a conflict let give way, as task_migration.conflict keeps it. ``to`` is the winner's time."""

    side: SideName
    unit: str
    key: int
    at: float
    to: float


@dataclass
class Acknowledged:
    """All acknowledged writes of one test."""

    writes: list[Write] = field(default_factory=list)

    def lost(
        self,
        final: Callable[[str, int, str], Any],
        conflicts: Iterable[Superseded],
        gone_with_task: Callable[[int], list[Write]],
    ) -> list[Write]:
        """The acknowledged writes that are neither present nor overwritten by a later one, and lost no conflict either.

        ``final(unit, key, field)`` is what stands now; ``gone_with_task(image)`` are the writes that took an image's
        task away, and the image with it.
        """
        superseded = list(conflicts)
        fields: dict[tuple[str, int, str], list[Write]] = {}
        for write in self.writes:
            fields.setdefault((write.unit, write.key, write.field), []).append(write)
        lost: list[Write] = []
        for (unit, key, name), writes in sorted(fields.items(), key=lambda one: str(one[0])):
            stands = final(unit, key, name)
            if unit == "task_images":
                ends = gone_with_task(key)
            elif name == "alive":
                ends = []
            else:
                ends = [write for write in self.writes if (write.unit, write.key) == (unit, key) and write.ends]
            since = max((write.at for write in writes if write.value == stands), default=None)
            for write in writes:
                overwritten = since is not None and write.at <= since
                ended = any(end.at >= write.at for end in ends)
                if write.value == stands or overwritten or ended or _explained(write, superseded):
                    continue
                lost.append(write)
        return lost


def _explained(write: Write, superseded: Iterable[Superseded]) -> bool:
    return any(
        (entry.side, entry.unit, entry.key) == (write.side, write.unit, write.key)
        and entry.to >= write.at - CLOCKS_SECONDS
        and (abs(entry.at - write.at) < SAME_MOMENT_SECONDS or (write.spread and entry.at > write.at))
        for entry in superseded
    )
