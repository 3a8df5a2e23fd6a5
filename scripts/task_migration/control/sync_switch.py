"""The runtime switch: whether the sync may run, for each direction. It needs no deployment and is active in a second.

It is stored in Laravel's database, which the sync needs anyway, so the switch can be read whenever there is something
to sync. It starts and stops the sync, and does not move traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from task_migration import sql_files
from task_migration.external import caller_identity
from task_migration.outcome import Outcome
from task_migration.postgres import database, grants
from task_migration.postgres.lock_retry import with_lock_retry

Name = Literal["sync_forward", "sync_backward"]

LOCK_TIMEOUT_SECONDS = 2.0
_FILE = "control/sync_switch.sql"


@dataclass(frozen=True)
class Position:
    """The state of one switch. ``changed_at`` has a time zone, by Laravel's database's clock; None: never turned."""

    is_on: bool
    changed_at: datetime | None = None
    changed_by: str = ""
    reason: str = ""

    @property
    def word(self) -> str:
        return "on" if self.is_on else "off"


def sync_switch(
    *, laravel_dsn: str, name: Name, state: Literal["on", "off"], reason: str = "", check: bool = False
) -> Outcome:
    """Turns the switch ``name`` on or off, and stores the ``reason``.

    A switch that was never turned is off, so turning it off creates nothing. It waits for the running batch. Details:
    ``name``, ``is_on``, and ``was_on`` before.
    """
    side = database.laravel(laravel_dsn)
    wanted = state == "on"
    with database.translated_errors(side), database.connect(side, f"look at {name}") as connection:
        was = position(connection, name)
        changed = was.is_on != wanted
        if changed and not check:
            turned: list[bool] = []

            def turn(session: database.Connection) -> None:
                session.execute(sql_files.statement(_FILE, "create"))
                grants.give(session)
                values = {"name": name, "is_on": wanted, "reason": reason, "changed_by": caller_identity.login()}
                turned[:] = [row[0] for row in session.execute(sql_files.statement(_FILE, "turn"), values)]

            with database.for_purpose(connection, f"making {name} turn") as owner:
                with_lock_retry(side, owner, LOCK_TIMEOUT_SECONDS, f"turning {name} {state}", turn)
            changed = bool(turned)  # empty if another session has turned it in the meantime
    return Outcome(
        changed,
        f"{name}: {_summary(was, state, changed, check)}",
        {"name": name, "is_on": was.is_on if check else wanted, "was_on": was.is_on},
    )


def is_on(connection: database.Connection, name: Name) -> bool:
    """Returns whether the switch is on. A missing switch, table or schema counts as off."""
    return position(connection, name).is_on


def is_there(connection: database.Connection) -> bool:
    """Returns whether the table of switches exists."""
    there = connection.execute(sql_files.statement(_FILE, "there")).fetchone()
    return bool(there and there[0])


def read_for_a_batch(connection: database.Connection, name: Name) -> Callable[[], bool]:
    """Reads the switch with a lock: turning it waits until the caller's transaction has ended. The table must exist.

    The query is sent now; calling the result returns whether the switch is on.
    """
    asked = connection.execute(sql_files.statement(_FILE, "read for a batch"), {"name": name})

    def read() -> bool:
        row = asked.fetchone()
        return bool(row and row[0])

    return read


def position(connection: database.Connection, name: Name) -> Position:
    """Returns the state of the switch, with the time, the user and the reason of the last change."""
    there = connection.execute(sql_files.statement(_FILE, "there")).fetchone()
    if there is None or not there[0]:
        return Position(False)
    row = connection.execute(sql_files.statement(_FILE, "read"), {"name": name}).fetchone()
    return Position(*row) if row else Position(False)


def _summary(was: Position, state: str, changed: bool, check: bool) -> str:
    if changed:
        return f"would be turned {state}" if check else f"turned {state}"
    if was.changed_at is None:
        return f"already {state}: it was never turned on"
    since = f"{was.changed_at:%Y-%m-%d %H:%M:%S} UTC by {was.changed_by}"
    return f"already {state}, since {since}" + (f" ({was.reason})" if was.reason else "")
