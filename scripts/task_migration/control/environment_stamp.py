"""The stamp: which environment's a database is, left on both sides by phase 2.1, and told from what PostgreSQL says.

It is the comment of the schema task_migration, so it goes when that goes. A dump carries it along, which is wanted: in
it stands on which server it was written, and so a copy shows.
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
    """What was left. ``at`` is when, for people."""

    environment: str
    system_identifier: str
    database_oid: int
    at: str

    def __str__(self) -> str:
        return f"stamped {self.environment}, {self.at}"


@dataclass(frozen=True)
class Identity:
    """A database as it is. ``system_identifier`` is its server's, made by initdb, "" if this login may not ask for it;
    ``stamp`` is None without one, ``has_schema`` says whether there is anything of ours to stamp."""

    system_identifier: str
    database_oid: int
    has_schema: bool
    stamp: Stamp | None


def environment_stamp(
    *, laravel_dsn: str, task_service_dsn: str, migration_environment: str, check: bool = False
) -> Outcome:
    """Stamps both databases as this environment's; again, it changes nothing.

    It asks nothing: ``target`` has compared by then. A side without the schema task_migration is left. Details:
    ``stamped``, the sides that were (in check mode: would be). Raises Refused if a side can't be reached, except in
    check mode the Task Service's, which may not have been made yet.
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
    said = f"{'would stamp' if check else 'stamped'} {titles}" if titles else "both databases bear it already"
    return Outcome(
        bool(stamped), f"stamp {migration_environment}: {said}", {"stamped": [side.name for side in stamped]}
    )


def identity(connection: database.Connection) -> Identity:
    """What a database says of itself, asked by any login."""
    row = connection.execute(sql_files.statement(_FILE, "told")).fetchone()
    assert row is not None
    oid, has_schema, comment, may_ask = row
    asked = connection.execute(sql_files.statement(_FILE, "system identifier")).fetchone() if may_ask else None
    return Identity(asked[0] if asked else "", oid, has_schema, _read(comment))


def _read(comment: str | None) -> Stamp | None:
    """Somebody else's comment is no stamp."""
    if comment is None or not comment.startswith(_TITLE):
        return None
    try:
        said: dict[str, Any] = json.loads(comment.removeprefix(_TITLE))
        return Stamp(
            str(said["environment"]), str(said["system_identifier"]), int(said["database_oid"]), str(said["at"])
        )
    except (ValueError, KeyError, TypeError):
        return None


def _same(one: Stamp, other: Stamp) -> bool:
    return (one.environment, one.system_identifier, one.database_oid) == (
        other.environment,
        other.system_identifier,
        other.database_oid,
    )
