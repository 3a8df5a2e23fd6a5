"""How far the migration is: what both databases, the syncs and API Gateway report, held against the checklist.

Reads only. A source that cannot be reached is a fact too, except Laravel's database, which holds the journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from task_migration import sql_files
from task_migration.control import (
    approval,
    checklist,
    consistency_history,
    journal,
    operator_lock,
    sync_switch,
)
from task_migration.control.checklist import Checked, Evidence, PhaseState
from task_migration.errors import MigrationError
from task_migration.external.aws import Aws
from task_migration.postgres import database, schema_drift
from task_migration.prepare import copy_ledger
from task_migration.runtime import health_endpoint
from task_migration.sync import change_log, fence
from task_migration.traffic import stage

SWITCHES: tuple[sync_switch.Name, ...] = ("sync_forward", "sync_backward")


@dataclass(frozen=True)
class LaravelState:
    """What Laravel's database holds.

    ``now`` is by its clock. ``holder`` is the playbook that holds the operator's lock, "" if none does; ``holder_who``
    is who started it.
    """

    now: datetime
    entries: Sequence[journal.JournalEntry] = ()
    verdict: journal.Verdict | None = None
    change_log_length: int | None = None
    oldest_seconds: float | None = None
    switches: Mapping[str, sync_switch.Position] = field(default_factory=dict)
    consistency: consistency_history.Check | None = None
    fenced_since: str | None = None
    holder: str = ""
    holder_who: str = ""

    @property
    def past_return(self) -> journal.JournalEntry | None:
        """The entry that records the point of no return; None before it."""
        return checklist.past_return(checklist.in_effect(self.entries))

    @property
    def running(self) -> str:
        """The playbook that is running now, "" if none is. A phase whose end is in the journal only asks for the
        status, so it does not count."""
        phase = checklist.phase_of(self.holder)
        finished = phase and checklist.state_of(phase, self.entries, self.holder).state != "running"
        return "" if finished else self.holder


@dataclass(frozen=True)
class TaskServiceState:
    """What the Task Service's database holds. ``trouble`` is why that is not known, "" if it is."""

    copied: bool = False
    schema_fingerprint: str | None = None
    trouble: str = ""


@dataclass(frozen=True)
class TrafficShare:
    """Where API Gateway sends the task routes. ``share`` is the percentage that goes to the Task Service, None if
    ``trouble`` says why it is not known; ``promoted`` is whether this is without a canary."""

    share: float | None = None
    promoted: bool = False
    trouble: str = ""

    def __str__(self) -> str:
        if self.share is None:
            return f"unknown: {self.trouble}"
        how = ", promoted" if self.promoted else ""
        return f"{self.share:g} % to the Task Service{how}, read from API Gateway"


@dataclass(frozen=True)
class MigrationState:
    """How far the migration is: both databases, and what the checklist and the gates make of them.

    ``phases`` is the state of each phase, ``checked`` its items; ``stale`` is why the last verdict cannot be used, None
    if it can; ``plans`` are approved or wait for an approval, and have not been started.
    """

    laravel: LaravelState
    task_service: TaskServiceState
    in_effect: Sequence[journal.JournalEntry]
    phases: Mapping[str, PhaseState]
    checked: Mapping[str, Sequence[Checked]]
    stale: str | None
    plans: Sequence[approval.Waiting]


def migration_state(
    laravel: LaravelState,
    task_service: TaskServiceState,
    tests: Sequence[checklist.MigrationTest],
    *,
    verdict_max_age_hours: float,
    consistency_every_seconds: float,
    canary_confidence_percent: float,
) -> MigrationState:
    """Checks every item of the checklist against these facts. Asks nothing."""
    in_effect = checklist.in_effect(laravel.entries)
    evidence = Evidence(
        in_effect,
        laravel.verdict,
        tests,
        laravel.switches,
        laravel.consistency,
        2.0 * consistency_every_seconds,
        laravel.fenced_since is not None,
        canary_confidence_percent / 100,
    )
    phases = checklist.phases()
    return MigrationState(
        laravel,
        task_service,
        in_effect,
        {phase.phase: checklist.state_of(phase.phase, in_effect, laravel.running) for phase in phases},
        {phase.phase: [checklist.check(phase, item, evidence) for item in phase.items] for phase in phases},
        journal.stale_because(laravel.verdict, laravel.now, verdict_max_age_hours, task_service.schema_fingerprint),
        approval.waiting(in_effect),
    )


def laravel_state(connection: database.Connection) -> LaravelState:
    """Reads everything that status needs from Laravel's database."""
    holders = connection.execute(
        sql_files.statement("control/operator_lock.sql", "holders"), {"which": operator_lock.OPERATOR}
    ).fetchall()
    length, oldest = change_log.backlog(connection) if change_log.exists(connection) else (None, None)
    holder = holders[0][0].removeprefix("task_migration lock ").split() if holders else ["", ""]
    return LaravelState(
        now=journal.now(connection),
        entries=journal.entries(connection),
        verdict=journal.latest_verdict(connection),
        change_log_length=length,
        oldest_seconds=oldest,
        switches={name: sync_switch.position(connection, name) for name in SWITCHES},
        consistency=consistency_history.newest(connection),
        fenced_since=fence.active_since(connection),
        holder=holder[0],
        holder_who=holder[-1],
    )


def task_service_state(laravel: database.Connection, dsn: str) -> TaskServiceState:
    """Reads the Task Service's database, which may not exist yet: ``dsn`` is then ""."""
    if not dsn:
        return TaskServiceState(trouble="not created yet")
    side = database.task_service(dsn)
    try:
        with database.translated_errors(side), database.read_only(side, "status") as connection:
            copied = copy_ledger.finished_at(connection) is not None
            return TaskServiceState(copied, schema_drift.schema_fingerprint(laravel, connection) if copied else None)
    except MigrationError as error:
        return TaskServiceState(trouble=_trouble(error))


def sync_states(switches: Mapping[str, sync_switch.Position], ports: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """The health of each sync whose switch is on, by direction, as it answers on its port of this machine."""
    wanted = ("state", "pending", "oldest_seconds", "lag_ms", "conflicts", "held_back", "last_error")
    found = {}
    for direction, port in ports.items():
        position = switches.get(f"sync_{direction}")
        if position is not None and position.is_on:
            health = health_endpoint.ask(int(port)) or {}
            found[direction] = {name: health[name] for name in wanted if name in health} or {"state": "not reached"}
    return found


def traffic_share(gateway: stage.Gateway, aws: Aws) -> TrafficShare:
    """Reads the share from API Gateway, in one attempt, so that status does not wait long for AWS."""
    try:
        stage.refuse_invalid(gateway)
        found = stage.read(aws.client("apigateway", attempts=1), gateway)
        stage.refuse_foreign(found)
    except MigrationError as error:
        return TrafficShare(trouble=_trouble(error))
    return TrafficShare(found.share, found.promoted)


def _trouble(error: MigrationError) -> str:
    return f"{error.what}: {error.measured}" if error.measured else error.what
