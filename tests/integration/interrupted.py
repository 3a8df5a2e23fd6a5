"""Something that happens in the middle of a batch: between any two of its statements, or around its commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from task_migration.postgres import database

Moment = int | Literal["before the commits", "between the commits", "after the commits"]
"""A number counts the moments of a step: before each statement, before and after each commit."""


class Killed(BaseException):
    """The worker is dead: nobody handles this."""


class Interruptions:
    """Armed for one step: ``act`` is done once, at its moment, by the same thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._moment: Moment | None = None
        self._act: Callable[[], None] | None = None
        self._passed = 0
        self._commits = 0
        execute, commit = database.Connection.execute, database.Connection.commit

        def executed(connection: database.Connection, *args: Any, **kwargs: Any) -> Any:
            self._reached(None)
            return execute(connection, *args, **kwargs)

        def committed(connection: database.Connection) -> None:
            self._commits += 1
            self._reached("before the commits" if self._commits == 1 else None)
            commit(connection)
            self._reached("between the commits" if self._commits == 1 else "after the commits")

        monkeypatch.setattr(database.Connection, "execute", executed)
        monkeypatch.setattr(database.Connection, "commit", committed)

    @contextmanager
    def at(self, moment: Moment, act: Callable[[], None]) -> Iterator[None]:
        """What happens in here is interrupted."""
        self._moment, self._act, self._passed, self._commits = moment, act, 0, 0
        try:
            yield
        finally:
            self._act = None

    def _reached(self, name: str | None) -> None:
        if self._act is None:
            return
        self._passed += 1
        if self._moment in (self._passed, name):
            act, self._act = self._act, None
            act()
