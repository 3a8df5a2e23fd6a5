"""The environment stamp: phase 2.1 writes to both databases to which environment they belong.

It is the comment of the schema task_migration, so it is removed with the schema. A dump includes it. That is intended:
the stamp names the server on which it was written, so a copy can be recognized.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from task_migration import sql_files, times
from task_migration.outcome import Outcome
from task_migration.postgres import database

_FILE = "control/environment_stamp.sql"
_TITLE = "Task Service migration: "


@dataclass(frozen=True)
class Stamp:
    """The stamp of a database. ``at`` is when it was written, as text."""

    environment: str
    system_identifier: str
    database_oid: int
    at: str

    def __str__(self) -> str:
        return f"stamped {self.environment}, {self.at}"


@dataclass(frozen=True)
class Identity:
    """The identity of a database. ``system_identifier`` is its server's, created by initdb, "" if this login may not
    read it; ``has_schema``: the schema task_migration exists, so it can be stamped; ``stamp`` is None without one."""

    system_identifier: str
    database_oid: int
    has_schema: bool
    stamp: Stamp | None


def environment_stamp(
    *, laravel_dsn: str, task_service_dsn: str, migration_environment: str, check: bool = False
) -> Outcome:
    """Stamps both databases with this environment. A second run changes nothing.

    It compares nothing: ``target_gate`` has done so before. A database without the schema task_migration is not
    stamped. Details: ``stamped``, the stamped sides (in check mode: that would be). Raises Refused if a database cannot
    be reached, except the Task Service's in check mode, which may not exist yet.
    """
    stamped = []
    for side in (database.laravel(laravel_dsn), database.task_service(task_service_dsn)):
        may_be_away = check and side.name == "task_service"
        session = database.connect_if_there(side, "stamp") if may_be_away else database.connect(side, "stamp")
        if session is None:
            stamped.append(side)
            continue
        with database.translated_errors(side), session as connection:
            found = identity(connection)
            wanted = Stamp(
                migration_environment, found.system_identifier, found.database_oid, times.when(datetime.now(UTC))
            )
            if found.stamp is not None and _same(found.stamp, wanted):
                continue
            if check or found.has_schema:
                stamped.append(side)
            if found.has_schema and not check:
                comment = sql.Literal(_TITLE + json.dumps(asdict(wanted)))
                connection.execute(sql_files.statement(_FILE, "stamp", comment=comment))
    titles = " and ".join(side.title for side in stamped)
    done = f"{'would stamp' if check else 'stamped'} {titles}" if titles else "both databases are stamped already"
    return Outcome(
        bool(stamped), f"stamp {migration_environment}: {done}", {"stamped": [side.name for side in stamped]}
    )


def identity(connection: database.Connection) -> Identity:
    """Returns the identity of a database; any login may call it."""
    row = connection.execute(sql_files.statement(_FILE, "identity")).fetchone()
    assert row is not None
    oid, has_schema, comment, may_read = row
    found = connection.execute(sql_files.statement(_FILE, "system identifier")).fetchone() if may_read else None
    return Identity(found[0] if found else "", oid, has_schema, _read(comment))


def _read(comment: str | None) -> Stamp | None:
    """Returns the stamp in a schema's comment; None for any other comment."""
    if comment is None or not comment.startswith(_TITLE):
        return None
    try:
        stored: dict[str, Any] = json.loads(comment.removeprefix(_TITLE))
        return Stamp(
            str(stored["environment"]),
            str(stored["system_identifier"]),
            int(stored["database_oid"]),
            str(stored["at"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _same(one: Stamp, other: Stamp) -> bool:
    return (one.environment, one.system_identifier, one.database_oid) == (
        other.environment,
        other.system_identifier,
        other.database_oid,
    )
