"""The sync: one worker of one direction, which carries batch after batch for as long as it is asked to.

Any number of workers may run, on any number of machines: lanes keep them off each other's tasks. What a worker knows is
in the databases; it may be killed at any moment.
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
from task_migration.sync.batch import BATCH_ENTRIES, FILE, Batch, Carrier, Direction, batch
from task_migration.sync.converge import backward_flow, forward_flow
from task_migration.sync.drain import RETRIED
from task_migration.sync.forward import Forward
from task_migration.sync.forward_by_api import ForwardByApi

RETRY_HELD_BACK_SECONDS = 60.0
_CHANGED_TABLES = (pg.UndefinedColumn, pg.UndefinedTable, pg.DatatypeMismatch, pg.UndefinedFunction)
_SWITCHES: Mapping[Direction, sync_switch.Name] = {"forward": "sync_forward", "backward": "sync_backward"}


@dataclass(frozen=True)
class SyncSettings:
    """What a worker is told. ``sink`` is how writes reach the Task Service; the last three are the api sink's."""

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
                "the sync's configuration does not have its fields",
                measured=f"missing: {sorted(needed - values.keys())}; unknown: {sorted(values.keys() - known)}",
                next_step="ansible-playbook phase-2.3-dual-write.yml writes it anew",
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SyncStep:
    """One batch. ``entries`` were settled, 0 if there was nothing to do; ``latencies`` are seconds from a write to its
    commit on the other side; ``paused``: the switch is off."""

    entries: int = 0
    latencies: tuple[float, ...] = ()
    conflicts: int = 0
    held_back: int = 0
    waiting: int = 0
    paused: bool = False


@dataclass(frozen=True)
class SyncSnapshot:
    """How things stand: entries on the log and the age of the oldest write; ``skew_seconds`` is Laravel's clock less
    the Task Service's; ``problem``: why nothing can be carried until somebody sets it right."""

    pending: int
    oldest_seconds: float | None
    skew_seconds: float
    enabled: bool
    held_back: int
    conflicts: int
    problem: str = ""


class SyncWorker:
    """One worker. Every method but close raises MigrationError; then it is to be closed and connected again."""

    def __init__(self, settings: SyncSettings, direction: Direction) -> None:
        self._settings = settings
        self._direction = direction
        self._laravel_side = database.laravel(
            settings.laravel_dsn, timezone=settings.laravel_timezone, s3_bucket=settings.s3_bucket
        )
        self._task_service_side = database.task_service(settings.task_service_dsn)
        self._open: list[database.Connection] = []
        self._sink: ApiClient | None = None
        self._way: Carrier | None = None
        self._switch_is_there = self._enabled = False
        self._clocks = _Clocks()
        self._looked_again = time.monotonic()

    def connect(self) -> None:
        """Opens both databases and looks whether capture and the tables are what they must be."""
        self.close()
        with self._said():
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
            self._switch_is_there = sync_switch.is_there(laravel)
            self._enabled = self._may_carry(laravel)()
            if self._direction == "backward":
                self._way = Backward(backward_flow(laravel, task_service))
            elif self._settings.sink == "api":
                self._way = ForwardByApi(forward_flow(laravel, task_service), self._api(task_service))
            else:
                self._way = Forward(forward_flow(laravel, task_service))

    def step(self) -> SyncStep:
        """Carries one batch, if there is one and the switch is on."""
        way = self._connected()
        with self._said():
            origin, (laravel, _) = way.flow.origin, self._open
            try:
                lanes, of_many = change_log.work(origin, BATCH_ENTRIES)
                if of_many and self._may_carry(laravel)():
                    change_log.spread(laravel)
                if not lanes:
                    return SyncStep(paused=not self._enabled)
                done = self._batch(way, lanes)
            except RETRIED:
                return (
                    SyncStep()
                )  # somebody else was at the same rows; nothing was changed, and the next step tries again
            if done is None:
                return SyncStep()
            now = self._clocks.now_of(origin.side.name)
        if done.done.problem:
            raise Failed(done.done.problem, measured=f"{done.waiting} entries went back on the change log")
        return SyncStep(
            entries=done.entries - done.waiting,
            latencies=tuple(max(0.0, now - claim) for claim in done.claims),
            conflicts=done.conflicts,
            held_back=done.done.held_back,
            waiting=done.waiting,
            paused=done.paused,
        )

    def _batch(self, way: Carrier, lanes: Collection[int]) -> Batch | None:
        """One batch of the lanes that are free; if none is, of these, when the other direction has let go of them."""
        done = batch(way, lanes=lanes, skew=self._clocks.skew, switch=self._may_carry)
        if done is None:
            done = batch(way, lanes=lanes, skew=self._clocks.skew, switch=self._may_carry, wait=True)
        return done

    def snapshot(self) -> SyncSnapshot:
        """Asks both sides how things stand. Once a minute it puts what was refused on the log again."""
        way = self._connected()
        with self._said():
            laravel, task_service = self._open
            self._clocks.read(laravel, task_service)
            self._switch_is_there = sync_switch.is_there(laravel)
            self._enabled = enabled = self._may_carry(laravel)()
            stand = way.flow.origin.execute(sql_files.statement("sync/change_log.sql", "stand")).fetchone()
            assert stand is not None
            counted = [
                connection.execute(sql_files.statement(sync_tables.FILE, "count")).fetchone() or (0, 0)
                for connection in self._open
            ]
            held_back = counted[1][1] if self._direction == "forward" else counted[0][1]
            problem = self._problem(laravel)
            if enabled and not problem and time.monotonic() - self._looked_again > RETRY_HELD_BACK_SECONDS:
                self._looked_again = time.monotonic()
                _retry_held_back(way)
        conflicts = counted[0][0] + counted[1][0]
        return SyncSnapshot(int(stand[0]), stand[1], self._clocks.skew, enabled, held_back, conflicts, problem)

    def close(self) -> None:
        """Gives everything back that is open."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        self._way = None

    def _connected(self) -> Carrier:
        if self._way is None:
            raise Failed("the sync is not connected", next_step="connect it first")
        return self._way

    def _api(self, task_service: database.Connection) -> ApiClient:
        if change_log.exists(task_service):
            raise Refused(
                "the api sink can't run while the Task Service's own writes are captured",
                measured="a change log in the Task Service's database; what the API writes for us would be taken for a "
                "user's write, newer than Laravel's, and be carried back",
                allowed="sync_sink: database from here on",
                next_step="set sync_sink to database in the inventory, then ansible-playbook phase-2.3-dual-write.yml",
            )
        self._sink = ApiClient(
            base_url=self._settings.task_service_url,
            token_file=self._settings.service_token_file,
            ca_file=self._settings.ca_file,
        )
        return self._sink

    def _may_carry(self, laravel: database.Connection) -> Callable[[], bool]:
        if not self._switch_is_there:
            return bool
        return sync_switch.read_for_a_batch(laravel, _SWITCHES[self._direction])

    def _problem(self, laravel: database.Connection) -> str:
        """What somebody has to set right, in one line; "" if nothing."""
        try:
            schema_drift.require_known_columns(laravel)
            capture.require(self._connected().flow.origin)
        except Refused as error:
            return str(error)
        return ""

    @contextmanager
    def _said(self) -> Iterator[None]:
        """psycopg's errors in the operator's words; a table that was changed under our feet by its column's name."""
        with database.translated_errors(self._laravel_side):
            try:
                yield
            except _CHANGED_TABLES as error:
                self._say_what_changed()
                raise Refused(
                    "a table was changed under the sync, and the mappings do not fit it any more",
                    measured=" ".join((error.diag.message_primary or "").split()),
                    next_step="bring the mappings and the tables together; the sync goes on by itself then",
                ) from error

    def _say_what_changed(self) -> None:
        """Raises Refused with the column's name if Laravel's tables differ from the column ledger."""
        try:
            with database.connect(self._laravel_side, "sync looks") as laravel:
                schema_drift.require_known_columns(laravel)
        except psycopg.Error:
            return


class _Clocks:
    """How the clocks of both databases stand to this machine's, in seconds; what a round trip takes is halved."""

    def __init__(self) -> None:
        self._ahead: dict[str, float] = {"laravel": 0.0, "task_service": 0.0}

    def read(self, *sides: database.Connection) -> None:
        for side in sides:
            before = time.time()
            told = change_log.clock(side)
            self._ahead[side.side.name] = told - (before + time.time()) / 2

    @property
    def skew(self) -> float:
        """Laravel's clock less the Task Service's."""
        return self._ahead["laravel"] - self._ahead["task_service"]

    def now_of(self, side: str) -> float:
        """That side's time now, in seconds since 1970."""
        return time.time() + self._ahead[side]


def _require_tables(laravel: database.Connection, task_service: database.Connection) -> None:
    for connection in (laravel, task_service):
        if lacking := sync_tables.missing(connection):
            raise Refused(
                f"{connection.side.title} lacks what the sync keeps there",
                measured=f"no table {', '.join(f'task_migration.{table}' for table in lacking)}",
                next_step="ansible-playbook phase-2.1-prepare.yml makes it",
            )


def _retry_held_back(way: Carrier) -> None:
    """Puts rows that the destination refused on the origin's log again; what holds them may have been set right."""
    found = way.flow.destination.execute(sql_files.statement(sync_tables.FILE, "refused rows")).fetchall()
    for mapping in {shape.mapping.table: shape.mapping for shape in way.flow.shapes}.values():
        keys = [key for table, key in found if table == mapping.table]
        if not keys:
            continue
        if way.flow.origin.side.name == "laravel":
            table, key, root = mapping.base_table, mapping.base_column, mapping.root_column
        else:
            table, key, root = mapping.table, mapping.key, mapping.parent.column if mapping.parent else mapping.key
        change_log.put(
            way.flow.origin, mapping.base_table, change_log.roots_of(way.flow.origin, table, key, root, keys)
        )
