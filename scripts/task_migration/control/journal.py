"""The journal: what was done, when, by which operator and command, with which results; and verify's verdicts.

Both are in Laravel's database, which exists during the whole migration, in append-only tables: a trigger refuses every
UPDATE, DELETE and TRUNCATE. Each journal entry contains the hash of the entry before it and its own, so that a change
that bypasses the trigger is detected. Evidence is numbers and keys, never a row's content.
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

# rollback-2.1 removes the journal with everything else of the runbook; the rollback's own entries must not recreate it.
NEVER_CREATE = ("rollback-2.1", "rollback-2.3", "rollback-2.4")

_BREAKS = {
    "gone": "it was removed",
    "altered": "it was altered after it was written",
    "unlinked": "it does not follow entry {1}; one of them was replaced",
    "beyond": "it was added without the runbook",
    "rewritten": "it was replaced",
    "no end": "the record of the journal's last entry was removed",
}


@dataclass(frozen=True)
class JournalEntry:
    """One entry of the journal. ``at`` has a time zone (UTC), and is by the clock of Laravel's database.

    ``previous`` is the hash of the entry before and ``hash`` that of this entry, which covers ``previous``; both hex.
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
class EntryHash:
    """The hash of an entry as it was when it was written, stored outside the database. ``journal`` is the first
    entry's ``previous``, which is random and so identifies the journal; ``hash`` in hex."""

    journal: str
    id: int
    hash: str


@dataclass(frozen=True)
class BrokenEntry:
    """The first entry that is not what was written, and the reason."""

    id: int
    why: str


@dataclass(frozen=True)
class Verdict:
    """One result of verify. ``summary`` is verify's details, as in the consistency report."""

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
    """Writes an entry: ``item`` of ``phase`` has started, is done, has failed or was refused.

    ``changed`` is always False, because no migrated data changes. The tables are created on first use, but not by a
    rollback, which may just have removed them. Details: ``recorded``, ``interrupted``, and the entry's mark:
    ``journal``, ``id``, ``hash``. Raises Refused if the evidence contains something that must not be stored, or if the
    result is not one of the four.
    """
    evidence = dict(evidence or {})
    if not phase.strip() or not item.strip():
        raise Refused("a journal entry needs a phase and an item", measured=f"phase {phase!r}, item {item!r}")
    if result not in get_args(Result):
        raise Refused(
            "the result of a journal entry is not valid", measured=result, allowed=", ".join(get_args(Result))
        )
    _refuse_secrets(evidence)
    what = f"phase {phase}, {item}: {result}" if item != "phase" else f"phase {phase}: {result}"
    side = database.laravel(laravel_dsn)
    with database.translated_errors(side), database.connect(side, "journal") as connection:
        before = interrupted(entries(connection, phase), item) if result == "started" else None
        note = f"; the run before it, started {when(before.at)} by {before.who}, was interrupted" if before else ""
        details = {"recorded": False, "interrupted": _plain(before) if before else None}
        if check:
            return Outcome(False, f"would be written to the journal: {what}{note}", details)
        if phase in NEVER_CREATE and not _there(connection)["journal"]:
            return Outcome(False, f"{what}; not written to the journal, because there is none", details)
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
    return Outcome(
        False, f"written to the journal: {what}{note}", {**details, "recorded": True, **asdict(EntryHash(*written))}
    )


def ensure(connection: database.Connection) -> None:
    """Creates the schema task_migration and the tables of this module in Laravel's database, if they are missing.

    Triggers that were removed or disabled are created again, because no entry can be written without them.
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
    """Returns the time of Laravel's database, whose clock the entries use."""
    row = laravel.execute(sql_files.statement("control/journal.sql", "now")).fetchone()
    assert row is not None
    at: datetime = row[0]
    return at


def entries(connection: database.Connection, phase: str | None = None) -> list[JournalEntry]:
    """Returns the entries of one phase or of all, oldest first; none if there is no journal yet."""
    if not _there(connection)["journal"]:
        return []
    with connection.cursor(row_factory=class_row(JournalEntry)) as cursor:
        return cursor.execute(sql_files.statement("control/journal.sql", "entries"), {"phase": phase}).fetchall()


def broken(connection: database.Connection, marks: Iterable[EntryHash] = ()) -> BrokenEntry | None:
    """Returns the first place where the journal is not what was written; None if it is intact, or if there is none.

    An entry that was altered, removed or inserted breaks the chain, also at its end. A journal that was rewritten as a
    whole, with new hashes, is detected only by ``marks``, which are stored elsewhere. Marks of other journals are
    ignored.
    """
    there = _there(connection)
    if not there["journal"]:
        return None
    if not there["journal_end"]:
        return BrokenEntry(1, _BREAKS["no end"].format(1, 0))
    marks = list(marks)
    known = {
        "journals": [mark.journal for mark in marks],
        "ids": [mark.id for mark in marks],
        "hashes": [mark.hash for mark in marks],
    }
    found = connection.execute(
        sql_files.statement("control/journal.sql", "broken", hash=_hash("entry")), known
    ).fetchone()
    return BrokenEntry(found[0], _BREAKS[found[1]].format(found[0], found[0] - 1)) if found else None


def interrupted(written: Iterable[JournalEntry], item: str = "phase") -> JournalEntry | None:
    """Returns the start of ``item`` if no later entry records its end; else None.

    ``written`` is of one phase, oldest first. Such an item is running now or was killed; the operator's lock shows
    which. A refusal is an end too: the run stopped without a change.
    """
    last = None
    for entry in written:
        if entry.item == item:
            last = entry
    return last if last is not None and last.result == "started" else None


def export(connection: database.Connection, directory: str | Path) -> Path | None:
    """Writes the whole journal as JSON lines, oldest first, to ``directory``/journal-<UTC time>.jsonl.

    For uninstall, before it drops the journal. Returns None if there is no journal. Raises Failed if the file cannot be
    written.
    """
    if not _there(connection)["journal"]:
        return None
    lines = [json.dumps(_plain(entry), ensure_ascii=False) + "\n" for entry in entries(connection)]
    (path,) = atomic_file.unused(Path(directory), "journal", datetime.now(UTC), ".jsonl")
    return atomic_file.write(path, "".join(lines))


def keep_verdict(connection: database.Connection, details: Mapping[str, Any]) -> Verdict:
    """Stores verify's details for later gates, with the time of Laravel's database.

    ``details`` contains at least ``passed`` and ``schema_fingerprint``.
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
    """Returns the last verdict, green or red; None if there is none."""
    if not _there(connection)["verdict"]:
        return None
    with connection.cursor(row_factory=class_row(Verdict)) as cursor:
        return cursor.execute(sql_files.statement("control/journal.sql", "latest verdict")).fetchone()


def stale_because(
    verdict: Verdict | None, now: datetime, max_age_hours: float, schema_fingerprint: str | None
) -> str | None:
    """Returns why no gate may use this verdict; None if it may.

    ``now`` is the time of Laravel's database; ``schema_fingerprint`` is that of the tables now, or None if it could not
    be read. A verdict from before a column changed is not valid, however recent it is.
    """
    if verdict is None:
        return "nothing has been verified yet"
    if not verdict.passed:
        return f"the verdict of {when(verdict.at)} is red"
    age = now - verdict.at
    if age > timedelta(hours=max_age_hours):
        return f"the verdict of {when(verdict.at)} is {duration(age)} old; allowed: {max_age_hours:g} h"
    if age < timedelta(0):
        return f"the verdict of {when(verdict.at)} is in the future; the database server's clock was set back"
    if schema_fingerprint is not None and schema_fingerprint != verdict.schema_fingerprint:
        return f"a table was altered after the verdict of {when(verdict.at)}"
    return None


def _there(connection: database.Connection) -> dict[str, bool]:
    """Returns which tables of this module exist, in the order in which they are created, and ``is_guarded``."""
    found = connection.execute(sql_files.statement("control/journal.sql", "there")).fetchone()
    assert found is not None
    *known, is_ours = found
    if not is_ours:
        raise Refused(
            "the journal in Laravel's database was created by an earlier development version, which is not supported",
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
        raise Refused("the evidence is not valid JSON", measured=str(error)) from error
    for path, value in leaves(json.loads(text), "evidence"):
        if "\0" in path or (isinstance(value, str) and "\0" in value):
            raise Refused(
                "the evidence contains a NUL character, which PostgreSQL cannot store in JSON",
                measured=path.replace("\0", ""),
            )
        secret = value not in (None, "", False, True) and is_secret_name(path) and not isinstance(value, int)
        if secret or (isinstance(value, str) and holds_password(value)):
            raise Refused(
                f"{path} looks like a password, and every reader of the journal would see it",
                allowed="numbers and keys; a connection string with passfile= instead of a password",
            )
