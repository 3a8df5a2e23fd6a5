"""Both sides wrote the same row before either write was carried: who wins, and what is kept of the one that lost.

A conflict needs a write of each side that is still on its log. The newer write wins, by clocks that are made comparable
first; of two of the same time Laravel's. The loser's row and log entries go to ``task_migration.conflict`` in the
transaction that lets them give way, so no acknowledged write is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg.types.json import Jsonb

from task_migration import database, queries, sync_tables
from task_migration.change_log import Entry

Winner = Literal["laravel", "task_service"]
Images = Mapping[int, Mapping[str, Any]]


@dataclass
class Written:
    """The writes of one row that are on one side's log."""

    root: int
    claim: float | None = None
    entries: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """One more write of it."""
        self.entries.append(entry)
        if entry.claim is not None:
            self.claim = entry.claim if self.claim is None else max(self.claim, entry.claim)


@dataclass(frozen=True)
class Conflict:
    """One row that both sides wrote. ``laravel`` and ``task_service`` hold each side's writes."""

    unit: str
    key: int
    laravel: Written
    task_service: Written
    winner: Winner


def winner(laravel: Written, task_service: Written, skew: float, gone_in_laravel: bool) -> Winner:
    """Whose write stands. ``skew`` is Laravel's clock less the Task Service's, in seconds.

    A task that is gone from Laravel for good went with its user: nobody is left to whom a newer write could belong.
    """
    if gone_in_laravel:
        return "laravel"
    assert laravel.claim is not None
    assert task_service.claim is not None
    return "laravel" if laravel.claim >= task_service.claim + skew else "task_service"


def keep(
    connection: database.Connection, conflicts: Iterable[Conflict], laravel: Images, task_service: Images, skew: float
) -> None:
    """Writes conflicts down, in the caller's transaction on the side whose writes give way.

    ``laravel`` and ``task_service`` are the images of the rows by key; a row that is not there has none.
    """
    for one in conflicts:
        won, lost = (laravel, task_service) if one.winner == "laravel" else (task_service, laravel)
        superseded = one.task_service if one.winner == "laravel" else one.laravel
        connection.execute(
            queries.statement(sync_tables.FILE, "keep conflict"),
            {
                "unit": one.unit,
                "key": one.key,
                "task_key": superseded.root,
                "winner": one.winner,
                "laravel_at": one.laravel.claim,
                "task_service_at": (one.task_service.claim or 0) + skew,
                "winner_image": _image(won, one.key),
                "loser_image": _image(lost, one.key),
                "superseded": Jsonb(
                    [{"id": entry.id, "part": entry.part, "at": entry.claim} for entry in superseded.entries]
                ),
            },
        )


def _image(images: Images, key: int) -> Jsonb | None:
    return Jsonb(images[key]) if key in images else None
