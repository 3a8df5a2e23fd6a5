"""The hourly check: are both sides still equal, while everything runs? And somebody is told when they are not.

It carries nothing and holds nobody up. What is on its way while it looks is looked at again, until only what no change
can explain is left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from task_migration import progress
from task_migration.compare import consistency_metrics, verify
from task_migration.control import consistency_history
from task_migration.errors import Failed, MigrationError
from task_migration.external import alert, cloudwatch_publisher
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.prepare import row_accounts
from task_migration.sync import change_log, sync_tables
from task_migration.sync.converge import REFUSED, forward_flow

NAMED = 20
ALERT_AGAIN_SECONDS = 3600
PUBLISHED_WITHIN_SECONDS = 5.0
"""A check that ends at once would take its figures along, and nobody waits for it."""
_PUNCTUAL_SECONDS = 60
"""A timer that comes a moment early must not leave out the hourly alert."""

_log = logging.getLogger(__name__)


class Inconsistent(Failed):
    """Both sides were looked at, and they are not equal."""


@dataclass(frozen=True)
class Found:
    """What one check found; ``passed`` is None if it could not look, and ``reasons`` say why then."""

    passed: bool | None
    seconds: float
    reasons: list[str]
    rows: int = 0
    differences: list[dict[str, Any]] = field(default_factory=list)
    number_of_differences: int = 0
    dead_letters: int = 0
    change_log_length: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        return {True: "passed", False: "failed", None: "could not look"}[self.passed]

    @property
    def keys(self) -> list[str]:
        return [f"{one['table']} {one['key']} {one['kind']}" for one in self.differences[:NAMED]]

    def line(self) -> str:
        if self.passed:
            return (
                f"consistency: {self.rows:,} rows compared in {self.seconds:.1f} s, 0 differences; "
                f"{self.change_log_length:,} entries on the change log"
            )
        return f"consistency: {self.word}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Alerts:
    """Whom to tell, as ``alert.alert`` takes it."""

    alert_topic_arn: str
    alert_command: Sequence[str]
    aws_region: str
    aws_endpoint_url: str


def consistency(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    quarantine_signed_off: dict[str, str] | None = None,
    alert_topic_arn: str = "",
    alert_command: Sequence[str] = (),
    aws_region: str,
    aws_endpoint_url: str = "",
    migration_environment: str = "",
    metrics_namespace: str = "",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Compares both sides while they are written and synced, keeps what it found, and alerts when that is news.

    Red are differences, rows unaccounted for, and rows that the sync could not carry (dead letters) of a kind that is
    not in ``quarantine_signed_off``. Somebody is told once when it turns red, at most hourly while it stays so, and
    once when it is green again. What it found is published in ``metrics_namespace`` ("": nowhere). In check mode
    nothing is kept or published, and nobody is told. ``changed`` is False always: nothing that is migrated changes.
    Raises Inconsistent when it is red, and what kept it from looking, which alerts as well.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    task_service = database.task_service(task_service_dsn)
    alerts = Alerts(alert_topic_arn, alert_command, aws_region, aws_endpoint_url)
    metrics = cloudwatch_publisher.CloudWatchPublisher(
        metrics_namespace=metrics_namespace,
        migration_environment=migration_environment,
        aws_region=aws_region,
        aws_endpoint_url=aws_endpoint_url,
    )
    began = time.monotonic()
    try:
        found = _look(laravel, task_service, quarantine_signed_off or {}, began, listener)
    except MigrationError as error:
        if not check:
            _keep_and_tell(laravel, Found(None, time.monotonic() - began, [str(error)]), alerts, metrics)
        raise
    if not check:
        _keep_and_tell(laravel, found, alerts, metrics)
    if not found.passed:
        raise Inconsistent(
            "the two sides are not equal while the sync runs",
            measured="; ".join([*found.reasons, *found.keys[:5]]),
            allowed="no difference, every row accounted for, nothing that could not be carried",
            next_step="ansible-playbook phase-2.2-verify.yml names every row, reconcile.yml mends them",
        )
    return Outcome(False, found.line(), {**found.details, "passed": found.passed, "keys": found.keys}, metrics.lines)


def _look(
    laravel: database.Side,
    task_service: database.Side,
    signed_off: dict[str, str],
    began: float,
    listener: progress.Listener,
) -> Found:
    with (
        database.translated_errors(laravel),
        database.connect(laravel, "consistency") as origin,
        database.translated_errors(task_service),
        database.connect(task_service, "consistency") as destination,
    ):
        verify.require_copy(origin, destination)
        flow = forward_flow(origin, destination)
        details = verify.details_of(flow, verify.differences(flow, listener=listener), signed_off)
        dead = _dead_letters(origin, destination, signed_off)
        dead_letters = sum(sum(sync_tables.dead_letters(side, signed_off).values()) for side in (origin, destination))
        pending = change_log.length(origin)
    tables = details["tables"]
    reasons = [*verify.rows_because(details), *dead]
    seconds = round(time.monotonic() - began, 3)
    return Found(
        passed=not reasons,
        seconds=seconds,
        reasons=reasons,
        rows=sum(table["task_service_rows"] for table in tables.values()),
        differences=details["differences"],
        number_of_differences=sum(
            table[kind] for table in tables.values() for kind in ("missing", "extra", "different")
        ),
        dead_letters=dead_letters,
        change_log_length=pending,
        details={
            "tables": tables,
            "quarantine": details["quarantine"],
            "reasons": reasons,
            "duration_seconds": seconds,
        },
    )


def _dead_letters(
    laravel: database.Connection, task_service: database.Connection, signed_off: dict[str, str]
) -> list[str]:
    """What the sync could not carry, a few words for each kind."""
    said = []
    for side in (laravel, task_service):
        if "quarantine" in sync_tables.missing(side):
            continue
        said += [
            f"{group['count']} rows could not be carried to {side.side.title} ({group['kind']}: "
            f"{', '.join(group['sample_keys'])})"
            for group in row_accounts.quarantine_by_kind(side)
            if group["held_back"] and (group["kind"] in REFUSED or side is laravel) and group["kind"] not in signed_off
        ]
    return said


def _keep_and_tell(
    laravel: database.Side, found: Found, alerts: Alerts, metrics: cloudwatch_publisher.CloudWatchPublisher
) -> None:
    """Publishes it, tells somebody if it is news, then adds the row. Nothing of that may hide what was found."""
    metrics.put(
        consistency_metrics.of_consistency(
            passed=found.passed,
            seconds=found.seconds,
            rows=found.rows,
            differences=found.number_of_differences,
            dead_letters=found.dead_letters,
        )
    )
    try:
        with database.translated_errors(laravel), database.connect(laravel, "consistency") as connection:
            before, told_ago = consistency_history.told(connection)
            alerted = _is_news(found.word, before, told_ago) and _tell(found, before, alerts)
            consistency_history.keep(
                connection,
                passed=found.passed,
                seconds=found.seconds,
                differences=found.number_of_differences,
                keys=found.keys,
                change_log_length=found.change_log_length,
                alerted=alerted,
                details=found.details or {"reasons": found.reasons},
            )
    except MigrationError as error:
        _log.error("the history of the check could not be kept: %s", error)
        if not found.passed:
            _tell(found, "", alerts)
    metrics.close(PUBLISHED_WITHIN_SECONDS)


def _is_news(word: str, before: str, told_ago: float | None) -> bool:
    if word == "passed":
        return before not in ("", "passed")
    return word != before or told_ago is None or told_ago >= ALERT_AGAIN_SECONDS - _PUNCTUAL_SECONDS


def _tell(found: Found, before: str, alerts: Alerts) -> bool:
    """Whether that could be told."""
    if found.passed:
        subject, said = "Task migration: consistent again", f"{found.line()}. The check before {before}."
    else:
        subject = f"Task migration: the consistency check {found.word}"
        said = "\n".join([*found.reasons, *found.keys, "", "ansible-playbook status.yml says how things stand."])
    try:
        alert.alert(
            subject=subject,
            message=said,
            aws_region=alerts.aws_region,
            alert_topic_arn=alerts.alert_topic_arn,
            alert_command=alerts.alert_command,
            aws_endpoint_url=alerts.aws_endpoint_url,
        )
    except MigrationError as error:
        _log.error("%s", error)
        return False
    return True
