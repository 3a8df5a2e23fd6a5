"""The sync: one worker of one direction, which syncs one batch each time that it is asked to.

Any number of workers can run, on any number of machines: lanes keep them from syncing the same tasks. A worker stores
its state in the databases only, so it can be killed at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import psycopg
from psycopg import errors as pg

from task_migration import sql_files
from task_migration.control import sync_switch
from task_migration.errors import Failed, Refused
from task_migration.postgres import database, schema_drift
from task_migration.sync import capture, change_log, sync_tables
from task_migration.sync.api_client import ApiClient
from task_migration.sync.backward import Backward
from task_migration.sync.batch import BATCH_ENTRIES, FILE, Batch, BatchWriter, Direction, batch
from task_migration.sync.converge import backward_flow, forward_flow
from task_migration.sync.drain import RETRIED
from task_migration.sync.forward import Forward
from task_migration.sync.forward_by_api import ForwardByApi

RETRY_HELD_BACK_SECONDS = 60.0
_CHANGED_TABLES = (pg.UndefinedColumn, pg.UndefinedTable, pg.DatatypeMismatch, pg.UndefinedFunction)
_SWITCHES: Mapping[Direction, sync_switch.Name] = {"forward": "sync_forward", "backward": "sync_backward"}


@dataclass(frozen=True)
class SyncSettings:
    """The settings of a worker. ``sink`` is how writes reach the Task Service; the last three are for the api sink."""

    laravel_dsn: str
    task_service_dsn: str
    laravel_timezone: str
    s3_bucket: str
    sink: Literal["database", "api"] = "database"
    task_service_url: str = ""
    service_token_file: str = ""
    ca_file: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SyncSettings:
        """Raises Refused if a field is missing or unknown."""
        known = {field.name for field in fields(cls)}
        needed = {"laravel_dsn", "task_service_dsn", "laravel_timezone", "s3_bucket"}
        if not needed <= values.keys() <= known:
            raise Refused(
                "the sync's configuration has missing or unknown fields",
                measured=f"missing: {sorted(needed - values.keys())}; unknown: {sorted(values.keys() - known)}",
                next_step="ansible-playbook phase-2.3-dual-write.yml writes it again",
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SyncStep:
    """What one batch did. ``entries`` were synced, 0 if there was nothing to do; ``latencies`` are the seconds from a
    write to its commit on the other side; ``paused``: the switch is off."""

    entries: int = 0
    latencies: tuple[float, ...] = ()
    conflicts: int = 0
    held_back: int = 0
    waiting: int = 0
    paused: bool = False


@dataclass(frozen=True)
class SyncSnapshot:
    """The state of both sides: entries on the log and the age of the oldest write; ``skew_seconds`` is Laravel's clock
    minus the Task Service's; ``problem`` is what the operator has to fix before anything can be synced."""

    pending: int
    oldest_seconds: float | None
    skew_seconds: float
    enabled: bool
    held_back: int
    conflicts: int
    problem: str = ""


class SyncWorker:
    """One worker. Every method except close raises MigrationError; then the caller closes and connects it again."""

    def __init__(self, settings: SyncSettings, direction: Direction) -> None:
        self._settings = settings
        self._direction = direction
        self._laravel_side = database.laravel(
            settings.laravel_dsn, timezone=settings.laravel_timezone, s3_bucket=settings.s3_bucket
        )
        self._task_service_side = database.task_service(settings.task_service_dsn)
        self._open: list[database.Connection] = []
        self._sink: ApiClient | None = None
        self._writer: BatchWriter | None = None
        self._has_switch = self._enabled = False
        self._clocks = _Clocks()
        self._retried_at = time.monotonic()

    def connect(self) -> None:
        """Connects to both databases, and checks capture and the tables."""
        self.close()
        with self._translated_errors():
            laravel = database.connect(self._laravel_side, f"sync {self._direction}")
            self._open.append(laravel)
            task_service = database.connect(self._task_service_side, f"sync {self._direction}")
            self._open.append(task_service)
            for connection in self._open:
                connection.execute(sql_files.statement(FILE, "session of a worker"))
            schema_drift.require_known_columns(laravel)
            capture.require(laravel if self._direction == "forward" else task_service)
            _require_tables(laravel, task_service)
            self._clocks.read(laravel, task_service)
            self._has_switch = sync_switch.is_there(laravel)
            self._enabled = self._switch(laravel)()
            if self._direction == "backward":
                self._writer = Backward(backward_flow(laravel, task_service))
            elif self._settings.sink == "api":
                self._writer = ForwardByApi(forward_flow(laravel, task_service), self._api(task_service))
            else:
                self._writer = Forward(forward_flow(laravel, task_service))

    def step(self) -> SyncStep:
        """Syncs one batch, if there is one and the switch is on."""
        writer = self._connected()
        with self._translated_errors():
            origin, (laravel, _) = writer.flow.origin, self._open
            try:
                lanes, of_many = change_log.lanes_with_work(origin, BATCH_ENTRIES)
                if of_many and self._switch(laravel)():
                    change_log.spread(laravel)
                if not lanes:
                    return SyncStep(paused=not self._enabled)
                done = self._batch(writer, lanes)
            except RETRIED:
                # Another session wrote the same rows. Nothing was changed, and the next step retries.
                return SyncStep()
            if done is None:
                return SyncStep()
            now = self._clocks.now_of(origin.side.name)
        if done.writes.problem:
            raise Failed(done.writes.problem, measured=f"{done.waiting} entries were put back on the change log")
        return SyncStep(
            entries=done.entries - done.waiting,
            latencies=tuple(max(0.0, now - written_at) for written_at in done.write_times),
            conflicts=done.conflicts,
            held_back=done.writes.held_back,
            waiting=done.waiting,
            paused=done.paused,
        )

    def _batch(self, writer: BatchWriter, lanes: Collection[int]) -> Batch | None:
        """Syncs one batch of the lanes that are free. If none is, it waits until the other direction releases them."""
        done = batch(writer, lanes=lanes, skew=self._clocks.skew, switch=self._switch)
        if done is None:
            done = batch(writer, lanes=lanes, skew=self._clocks.skew, switch=self._switch, wait=True)
        return done

    def snapshot(self) -> SyncSnapshot:
        """Reads the state of both sides. Once a minute it puts rows that were refused on the log again."""
        writer = self._connected()
        with self._translated_errors():
            laravel, task_service = self._open
            self._clocks.read(laravel, task_service)
            self._has_switch = sync_switch.is_there(laravel)
            self._enabled = enabled = self._switch(laravel)()
            pending, oldest_seconds = change_log.backlog(writer.flow.origin)
            counted = [
                connection.execute(sql_files.statement(sync_tables.FILE, "count")).fetchone() or (0, 0)
                for connection in self._open
            ]
            held_back = counted[1][1] if self._direction == "forward" else counted[0][1]
            problem = self._problem(laravel)
            if enabled and not problem and time.monotonic() - self._retried_at > RETRY_HELD_BACK_SECONDS:
                self._retried_at = time.monotonic()
                _retry_held_back(writer)
        conflicts = counted[0][0] + counted[1][0]
        return SyncSnapshot(pending, oldest_seconds, self._clocks.skew, enabled, held_back, conflicts, problem)

    def close(self) -> None:
        """Closes every connection."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        self._writer = None

    def _connected(self) -> BatchWriter:
        if self._writer is None:
            raise Failed("the sync is not connected", next_step="connect it first")
        return self._writer

    def _api(self, task_service: database.Connection) -> ApiClient:
        if change_log.exists(task_service):
            raise Refused(
                "the api sink cannot run while the Task Service's writes are captured",
                measured="a change log in the Task Service's database; a write of the sync through the API would count "
                "as a user's write, newer than Laravel's, and would be synced back",
                allowed="sync_sink: database from here on",
                next_step="set sync_sink to database in the inventory, then ansible-playbook phase-2.3-dual-write.yml",
            )
        self._sink = ApiClient(
            base_url=self._settings.task_service_url,
            token_file=self._settings.service_token_file,
            ca_file=self._settings.ca_file,
        )
        return self._sink

    def _switch(self, laravel: database.Connection) -> Callable[[], bool]:
        if not self._has_switch:
            return bool
        return sync_switch.read_for_a_batch(laravel, _SWITCHES[self._direction])

    def _problem(self, laravel: database.Connection) -> str:
        """Returns what the operator has to fix, in one line; "" if nothing."""
        try:
            schema_drift.require_known_columns(laravel)
            capture.require(self._connected().flow.origin)
        except Refused as error:
            return str(error)
        return ""

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Translates psycopg's errors. If a table was altered while the sync ran, the message names the column."""
        with database.translated_errors(self._laravel_side):
            try:
                yield
            except _CHANGED_TABLES as error:
                self._refuse_altered_columns()
                raise Refused(
                    "a table was altered while the sync ran, and no longer matches the mappings",
                    measured=" ".join((error.diag.message_primary or "").split()),
                    next_step="make the mappings and the tables match; the sync then continues automatically",
                ) from error

    def _refuse_altered_columns(self) -> None:
        """Raises Refused with the column's name if Laravel's tables differ from the column ledger."""
        try:
            with database.connect(self._laravel_side, "sync looks") as laravel:
                schema_drift.require_known_columns(laravel)
        except psycopg.Error:
            return


class _Clocks:
    """The clocks of both databases compared to this machine's, in seconds; half of the round trip is subtracted."""

    def __init__(self) -> None:
        self._ahead: dict[str, float] = {"laravel": 0.0, "task_service": 0.0}

    def read(self, *sides: database.Connection) -> None:
        for side in sides:
            before = time.time()
            there = change_log.clock(side)
            self._ahead[side.side.name] = there - (before + time.time()) / 2

    @property
    def skew(self) -> float:
        """Laravel's clock minus the Task Service's."""
        return self._ahead["laravel"] - self._ahead["task_service"]

    def now_of(self, side: str) -> float:
        """Returns that side's current time, in seconds since 1970."""
        return time.time() + self._ahead[side]


def _require_tables(laravel: database.Connection, task_service: database.Connection) -> None:
    for connection in (laravel, task_service):
        if missing := sync_tables.missing(connection):
            raise Refused(
                f"{connection.side.title} does not have the sync's tables",
                measured=f"no table {', '.join(f'task_migration.{table}' for table in missing)}",
                next_step="ansible-playbook phase-2.1-prepare.yml creates them",
            )


def _retry_held_back(writer: BatchWriter) -> None:
    """Puts rows that the destination refused on the origin's log again; the cause may have been fixed."""
    origin = writer.flow.origin
    refused = writer.flow.destination.execute(sql_files.statement(sync_tables.FILE, "refused rows")).fetchall()
    for mapping in {shape.mapping.table: shape.mapping for shape in writer.flow.shapes}.values():
        keys = [key for table, key in refused if table == mapping.table]
        if not keys:
            continue
        if origin.side.name == "laravel":
            table, key, task_column = mapping.base_table, mapping.base_column, mapping.root_column
        else:
            table, key = mapping.table, mapping.key
            task_column = mapping.parent.column if mapping.parent else mapping.key
        task_ids = change_log.task_ids_of(origin, table, key, task_column, keys)
        change_log.put(origin, mapping.base_table, task_ids)
