"""Separates the ids of both sides: Laravel assigns ids below an offset, the Task Service assigns ids from it on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg import sql

from task_migration import sql_files
from task_migration.errors import Failed, Refused
from task_migration.mapping.table_mapping import mappings
from task_migration.outcome import Outcome
from task_migration.postgres import database

_FILE = "prepare/id_ranges.sql"
_COLUMN = "id"
_INTEGER_LIMIT = 2_147_483_647
_BIGINT_LIMIT = 9_223_372_036_854_775_807


@dataclass(frozen=True)
class _SequenceState:
    """The ids of one table: the next one, the highest one that this side assigned, and the last possible one.

    ``highest_of_all`` includes rows whose id the other side assigned.
    """

    table: str
    sequence: str
    next_id: int
    highest_id: int
    last_possible: int
    highest_of_all: int = 0

    @property
    def next_free(self) -> int:
        return max(self.next_id, self.highest_id + 1)


def id_ranges(
    *, laravel_dsn: str, task_service_dsn: str, task_service_id_offset: int = 1_000_000_000, check: bool = False
) -> Outcome:
    """Moves every sequence of the Task Service's tables to the offset, unless its value is higher already.

    It never moves one backwards, so no id is assigned twice. Details: ``laravel`` and ``task_service``, with each
    table's next id and how many are left. Raises Refused if Laravel's ids reach the offset, or if the Task Service's
    column ends below it; Failed if a sequence has another value afterwards.
    """
    if task_service_id_offset < 1:
        raise Refused(
            "task_service_id_offset is not a valid first id",
            measured=f"{task_service_id_offset}",
            allowed="1 or more",
            next_step="correct task_service_id_offset in the inventory",
        )
    laravel = database.laravel(laravel_dsn)
    with database.translated_errors(laravel), database.connect(laravel, "sequences") as origin:
        laravels = [_state(origin, table, below=task_service_id_offset) for table in _shared_tables()]
    _refuse_reached(laravels, task_service_id_offset)
    goals = _Goals(task_service_id_offset, {sequence.table: sequence.highest_of_all for sequence in laravels})
    task_service = database.task_service(task_service_dsn)
    with database.translated_errors(task_service):
        sequences = _task_services(task_service, goals, check)
    moved = [sequence for sequence in sequences if sequence.next_id < goals.of(sequence)]
    return _outcome(laravels, sequences, moved, goals, check)


def _shared_tables() -> list[str]:
    """Returns the tables for which Laravel assigns ids too: those whose key is their own id."""
    return [mapping.table for mapping in mappings() if mapping.key == _COLUMN]


def _tables() -> list[str]:
    return [mapping.table for mapping in mappings()]


@dataclass(frozen=True)
class _Goals:
    """The next ids of the Task Service: from the offset on, above its own rows, and above its rows in Laravel."""

    offset: int
    in_laravel: Mapping[str, int]

    def of(self, sequence: _SequenceState) -> int:
        return max(self.offset, sequence.next_free, self.in_laravel.get(sequence.table, 0) + 1)


def _refuse_reached(laravels: list[_SequenceState], offset: int) -> None:
    reached = [sequence for sequence in laravels if sequence.next_free >= offset]
    if reached:
        raise Refused(
            "Laravel's ids have reached the ids of the Task Service",
            measured=", ".join(f"next id of {sequence.table}: {sequence.next_free}" for sequence in reached),
            allowed=f"below {offset}",
            next_step=f"set a higher task_service_id_offset in the inventory, at most {_INTEGER_LIMIT - 1}",
        )


def _task_services(side: database.Side, goals: _Goals, check: bool) -> list[_SequenceState]:
    """Returns the state of the Task Service's sequences before they are moved; moves them unless ``check``."""
    purpose = "sequences"
    connection = database.connect_if_there(side, purpose) if check else database.connect(side, purpose)
    if connection is None:
        return _as_if_new()
    with connection:
        there = [_state_if_there(connection, table) for table in _tables()]
        if all(sequence is None for sequence in there) and check:
            return _as_if_new()
        sequences = [sequence for sequence in there if sequence is not None]
        if len(sequences) < len(there):
            absent = [table for table, sequence in zip(_tables(), there, strict=True) if sequence is None]
            raise Refused(
                f"the Task Service's database has no table {', '.join(absent)}",
                next_step="ansible-playbook phase-2.1-prepare.yml",
            )
        _refuse_narrow(sequences, goals)
        if not check:
            _move(connection, sequences, goals)
        return sequences


def _as_if_new() -> list[_SequenceState]:
    return [_SequenceState(table, f"public.{table}_id_seq", 1, 0, _INTEGER_LIMIT) for table in _tables()]


def _refuse_narrow(sequences: list[_SequenceState], goals: _Goals) -> None:
    narrow = [sequence for sequence in sequences if goals.of(sequence) > sequence.last_possible]
    if narrow:
        raise Refused(
            "the Task Service's id columns are too small for the first id",
            measured=", ".join(f"{sequence.table} would start at {goals.of(sequence)}" for sequence in narrow),
            allowed=", ".join(f"{sequence.table} up to {sequence.last_possible}" for sequence in narrow),
            next_step="set a lower task_service_id_offset, or id_policy: bigint, in the inventory",
        )


def _move(connection: database.Connection, sequences: list[_SequenceState], goals: _Goals) -> None:
    with connection.transaction():
        for sequence in sequences:
            connection.execute(
                sql_files.statement(_FILE, "move forward", sequence=sql_files.as_sql(sequence.sequence)),
                {"sequence": sequence.sequence, "next_id": goals.of(sequence)},
            )
    for sequence in sequences:
        now = _state(connection, sequence.table)
        if now.next_free < goals.offset or now.next_id < now.highest_id + 1:
            raise Failed(
                f"the sequence of {sequence.table} does not have the value that was set",
                measured=f"next id {now.next_id}, highest id {now.highest_id}",
                allowed=f"{goals.offset} or more, and above every id",
                next_step="stop other writers to the Task Service's database, then run the same command again",
            )


def _state(connection: database.Connection, table: str, below: int = _BIGINT_LIMIT) -> _SequenceState:
    sequence = _state_if_there(connection, table, below)
    if sequence is None:
        raise Refused(
            f"{connection.side.title} has no table {table}",
            next_step="correct the connection string in the inventory",
        )
    return sequence


def _state_if_there(connection: database.Connection, table: str, below: int = _BIGINT_LIMIT) -> _SequenceState | None:
    """Returns the state of a table's sequence, with the highest id below ``below``; None if there is no such table.

    Raises Refused if no sequence belongs to its id.
    """
    row = connection.execute(sql_files.statement(_FILE, "sequence of"), {"table": table, "column": _COLUMN}).fetchone()
    if row is None:
        return None
    sequence, readable, last_possible = row
    if sequence is None:
        raise Refused(
            f"{table}.{_COLUMN} in {connection.side.title} has no sequence",
            measured=f"no sequence is owned by {table}.{_COLUMN}",
            next_step=f"ALTER SEQUENCE <the one in use> OWNED BY {table}.{_COLUMN}; then run the same command again",
        )
    if not readable:
        raise Refused(
            f"no permission to read the sequence of {table} in {connection.side.title}",
            measured=f"no SELECT on {sequence}",
            next_step=f"GRANT SELECT ON SEQUENCE {sequence} to the runbook's role",
        )
    found = connection.execute(
        sql_files.statement(
            _FILE,
            "sequence state",
            sequence=sql_files.as_sql(sequence),
            table=sql.Identifier("public", table),
            column=sql.Identifier(_COLUMN),
        ),
        {"below": below},
    ).fetchone()
    assert found is not None
    return _SequenceState(table, sequence, found[0], found[1], last_possible, found[2])


def _outcome(
    laravels: list[_SequenceState],
    sequences: list[_SequenceState],
    moved: list[_SequenceState],
    goals: _Goals,
    check: bool,
) -> Outcome:
    offset = goals.offset
    headroom = min(offset - sequence.next_free for sequence in laravels)
    room = min(sequence.last_possible - goals.of(sequence) + 1 for sequence in sequences)
    verb = "would be moved" if check else "moved"
    done = f"{len(moved)} sequences {verb} to the Task Service's range" if moved else "already in separate ranges"
    return Outcome(
        bool(moved),
        f"ids: {done}; left: {headroom} for Laravel below {offset}, {room} for the Task Service",
        {
            "laravel": {s.table: {"next_id": s.next_free, "left": offset - s.next_free} for s in laravels},
            "task_service": {
                s.table: {"next_id": goals.of(s), "left": s.last_possible - goals.of(s) + 1} for s in sequences
            },
        },
        tuple(_lines(laravels, sequences, moved, goals)),
    )


def _lines(
    laravels: list[_SequenceState], sequences: list[_SequenceState], moved: list[_SequenceState], goals: _Goals
) -> Iterator[str]:
    offset = goals.offset
    for sequence in laravels:
        left = offset - sequence.next_free
        yield f"Laravel, {sequence.table}: next id {sequence.next_free}, {left} left below {offset}"
    for sequence in sequences:
        how = "starts at" if sequence in moved else "continues at"
        yield f"Task Service, {sequence.table}: {how} {goals.of(sequence)}"
