"""The record of what was done: when, by whom, by which command, with which figures; and the verdicts gates lean on.

Both live in Laravel's database, which outlives the Task Service's during the whole migration, in tables that only ever
grow: a trigger refuses every UPDATE, DELETE and TRUNCATE. Each entry of the journal carries the hash of the one before
and its own, so that whoever gets past the trigger is seen. Evidence is figures and keys, never a row's content.
"""

from __future__ import annotations

import getpass
import json
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.external import atomic_file
from task_migration.external.masking import holds_password, is_secret_name, leaves, typed_command
from task_migration.outcome import Outcome
from task_migration.postgres import database, grants
from task_migration.times import duration, when

Result = Literal["started", "done", "failed", "refused"]

# Withdraw takes the journal away with everything else of ours: what a rollback says must not bring it back.
NEVER_CREATE = ("rollback-2.1", "rollback-2.3", "rollback-2.4")

_BREAKS = {
    "gone": "it is gone",
    "altered": "it was altered after it was written",
    "unlinked": "it does not follow on entry {1}, one of them was written anew",
    "beyond": "it was put in past the journal",
    "rewritten": "it was written anew",
    "no end": "the note of where the journal ends is gone",
}


@dataclass(frozen=True)
class JournalEntry:
    """One line of the journal. ``at`` is aware, in UTC, by the clock of Laravel's database.

    ``previous`` and ``hash``, in hex: of the entry before, and of this one, which covers ``previous``.
    """

    id: int
    at: datetime
    operator: str
    host: str
    command: str
    phase: str
    item: str
    result: Result
    evidence: dict[str, Any]
    previous: str = ""
    hash: str = ""

    @property
    def who(self) -> str:
        return f"{self.operator}@{self.host}"


@dataclass(frozen=True)
class Mark:
    """An entry as somebody saw it when it was written. ``journal`` is the first entry's ``previous``, which is random
    and so tells journals apart; ``hash`` in hex."""

    journal: str
    id: int
    hash: str


@dataclass(frozen=True)
class Break:
    """The first entry at which the journal is not what was written, and how that shows."""

    id: int
    why: str


@dataclass(frozen=True)
class Verdict:
    """What verify found at one time. ``summary`` is verify's details, as in the consistency report."""

    id: int
    at: datetime
    passed: bool
    schema_fingerprint: str
    summary: dict[str, Any]


def journal(
    *,
    laravel_dsn: str,
    phase: str,
    item: str,
    result: str,
    evidence: Mapping[str, Any] | None = None,
    check: bool = False,
) -> Outcome:
    """Writes down that ``item`` of ``phase`` has started, is done, has failed or was refused.

    To write down what was done changes nothing of what is migrated, so ``changed`` is False always. The tables are
    made on first use, but not by a rollback, which may just have taken them away. Details: ``recorded``,
    ``interrupted``, and the entry's mark: ``journal``, ``id``, ``hash``. Raises Refused if the evidence holds what may
    not be kept or the result is none of the four.
    """
    evidence = dict(evidence or {})
    if not phase.strip() or not item.strip():
        raise Refused("a journal entry names its phase and its item", measured=f"phase {phase!r}, item {item!r}")
    if result not in get_args(Result):
        raise Refused("there is no such result", measured=result, allowed=", ".join(get_args(Result)))
    _refuse_secrets(evidence)
    what = f"phase {phase}, {item}: {result}" if item != "phase" else f"phase {phase}: {result}"
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.connect(side, "journal") as connection:
        before = interrupted(entries(connection, phase), item) if result == "started" else None
        note = f"; the run before, begun {when(before.at)} by {before.who}, was interrupted" if before else ""
        details = {"recorded": False, "interrupted": _plain(before) if before else None}
        if check:
            return Outcome(False, f"would write down: {what}{note}", details)
        if phase in NEVER_CREATE and not _there(connection)["journal"]:
            return Outcome(False, f"{what}; not written down, as nothing of ours is in Laravel's database", details)
        ensure(connection)
        written = connection.execute(
            sql_files.statement("control/journal.sql", "append"),
            {
                "operator": getpass.getuser(),
                "host": socket.gethostname(),
                "command": typed_command(sys.argv),
                "phase": phase,
                "item": item,
                "result": result,
                "evidence": Jsonb(evidence),
            },
        ).fetchone()
    assert written is not None
    return Outcome(False, f"written down: {what}{note}", {**details, "recorded": True, **asdict(Mark(*written))})


def ensure(connection: database.Connection) -> None:
    """Makes the schema task_migration and the tables of this module in Laravel's database, those that are not there.

    Triggers that somebody took off or switched off are put on again: nothing could be written down without them.
    """
    there = _there(connection)
    is_guarded = there.pop("is_guarded")
    if is_guarded and all(there.values()):
        return
    with database.for_purpose(connection, "making the journal") as owner, owner.transaction():
        owner.execute(sql_files.statement("control/journal.sql", "create schema"))
        for table, is_there in there.items():
            if not is_there:
                owner.execute(sql_files.statement("control/journal.sql", f"create {table}"))
        if not is_guarded:
            owner.execute(sql_files.statement("control/journal.sql", "guard journal", hash=_hash("new")))
        grants.give(owner)


def now(laravel: database.Connection) -> datetime:
    """The time by the clock of Laravel's database, which entries are written by."""
    row = laravel.execute(sql_files.statement("control/journal.sql", "now")).fetchone()
    assert row is not None
    at: datetime = row[0]
    return at


def entries(connection: database.Connection, phase: str | None = None) -> list[JournalEntry]:
    """What is written down, oldest first: of one phase, or of all. Nothing, if there is no journal yet."""
    if not _there(connection)["journal"]:
        return []
    with connection.cursor(row_factory=class_row(JournalEntry)) as cursor:
        return cursor.execute(sql_files.statement("control/journal.sql", "entries"), {"phase": phase}).fetchall()


def broken(connection: database.Connection, marks: Iterable[Mark] = ()) -> Break | None:
    """Where the journal stops being what was written; None if it holds, or if there is none.

    An entry that was altered, removed or put in breaks the chain, at its end too. Whoever writes all of it anew, hashes
    and end, is seen by ``marks`` alone, which are kept elsewhere; those of other journals say nothing.
    """
    there = _there(connection)
    if not there["journal"]:
        return None
    if not there["journal_end"]:
        return Break(1, _BREAKS["no end"].format(1, 0))
    marks = list(marks)
    known = {
        "journals": [mark.journal for mark in marks],
        "ids": [mark.id for mark in marks],
        "hashes": [mark.hash for mark in marks],
    }
    found = connection.execute(
        sql_files.statement("control/journal.sql", "broken", hash=_hash("entry")), known
    ).fetchone()
    return Break(found[0], _BREAKS[found[1]].format(found[0], found[0] - 1)) if found else None


def interrupted(written: Iterable[JournalEntry], item: str = "phase") -> JournalEntry | None:
    """The entry that says ``item`` has started, if nothing after it says how that ended; else None.

    ``written`` is of one phase, oldest first. Such an item is running now or was killed: only who holds the lock tells
    which. A refusal ends the start before it, too: the run stopped, and changed nothing.
    """
    last = None
    for entry in written:
        if entry.item == item:
            last = entry
    return last if last is not None and last.result == "started" else None


def export(connection: database.Connection, directory: str | Path) -> Path | None:
    """Writes the whole journal as JSON lines, oldest first, to ``directory``/journal-<UTC time>.jsonl.

    For withdraw, before it drops the journal. Gives None if there is no journal. Raises Failed if it can't be written.
    """
    if not _there(connection)["journal"]:
        return None
    lines = [json.dumps(_plain(entry), ensure_ascii=False) + "\n" for entry in entries(connection)]
    (path,) = atomic_file.unused(Path(directory), "journal", datetime.now(UTC), ".jsonl")
    return atomic_file.write(path, "".join(lines))


def keep_verdict(connection: database.Connection, details: Mapping[str, Any]) -> Verdict:
    """Keeps verify's details, with the time by the clock of Laravel's database, for the gates that come later.

    ``details`` holds at least ``passed`` and ``schema_fingerprint``.
    """
    ensure(connection)
    with connection.cursor(row_factory=class_row(Verdict)) as cursor:
        kept = cursor.execute(
            sql_files.statement("control/journal.sql", "keep verdict"),
            {
                "passed": details["passed"],
                "schema_fingerprint": details["schema_fingerprint"],
                "summary": Jsonb(dict(details)),
            },
        ).fetchone()
    assert kept is not None
    return kept


def latest_verdict(connection: database.Connection) -> Verdict | None:
    """The last verdict, green or red; None if there is none."""
    if not _there(connection)["verdict"]:
        return None
    with connection.cursor(row_factory=class_row(Verdict)) as cursor:
        return cursor.execute(sql_files.statement("control/journal.sql", "latest verdict")).fetchone()


def stale_because(
    verdict: Verdict | None, now: datetime, max_age_hours: float, schema_fingerprint: str | None
) -> str | None:
    """Why no gate may lean on this verdict; None if it may.

    ``now`` by the clock of Laravel's database; ``schema_fingerprint`` as the tables are now, or None where nobody could
    ask. What was verified before a column changed says nothing of what is there now, however young it is.
    """
    if verdict is None:
        return "nothing has been verified yet"
    if not verdict.passed:
        return f"the verdict of {when(verdict.at)} is red"
    age = now - verdict.at
    if age > timedelta(hours=max_age_hours):
        return f"the verdict of {when(verdict.at)} is {duration(age)} old; allowed: {max_age_hours:g} h"
    if age < timedelta(0):
        return f"the verdict of {when(verdict.at)} is of a time still to come; the clock was put back"
    if schema_fingerprint is not None and schema_fingerprint != verdict.schema_fingerprint:
        return f"a table was altered after the verdict of {when(verdict.at)}"
    return None


def _there(connection: database.Connection) -> dict[str, bool]:
    """Which tables of this module there are, in the order in which they are made, and ``is_guarded``."""
    found = connection.execute(sql_files.statement("control/journal.sql", "there")).fetchone()
    assert found is not None
    *known, is_ours = found
    if not is_ours:
        raise Refused(
            "the journal in Laravel's database was made by an earlier version, which no production has seen",
            next_step="ansible-playbook lab-down.yml, then ansible-playbook lab-up.yml",
        )
    return dict(zip(("journal_end", "journal", "verdict", "is_guarded"), known, strict=True))


def _hash(entry: str) -> sql.Composed:
    return sql_files.statement("control/journal.sql", "hash", entry=sql.Identifier(entry))


def _plain(entry: JournalEntry) -> dict[str, Any]:
    return {**asdict(entry), "at": entry.at.astimezone(UTC).isoformat()}


def _refuse_secrets(evidence: Mapping[str, Any]) -> None:
    try:
        text = json.dumps(evidence, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refused("this evidence can't be written as JSON", measured=str(error)) from error
    for path, value in leaves(json.loads(text), "evidence"):
        if "\0" in path or (isinstance(value, str) and "\0" in value):
            raise Refused("this evidence can't be kept: PostgreSQL holds no NUL character in JSON")
        secret = value not in (None, "", False, True) and is_secret_name(path) and not isinstance(value, int)
        if secret or (isinstance(value, str) and holds_password(value)):
            raise Refused(
                f"{path} looks like a password, which the journal would show to everyone who reads it",
                allowed="figures and keys; a connection string names its passfile, never the password",
            )
