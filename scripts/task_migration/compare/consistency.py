"""The hourly check: compares both sides while they are in use, and sends an alert when they are not equal.

It syncs nothing and blocks no one. Rows with a pending change are checked again, until only differences are left that
no pending change can explain.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from task_migration import progress
from task_migration.compare import consistency_metrics
from task_migration.compare.comparison import differences, require_copy
from task_migration.compare.verdict_details import row_reasons, verdict_details
from task_migration.control import consistency_history
from task_migration.errors import Failed, MigrationError
from task_migration.external import alert, cloudwatch_publisher
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.prepare import row_accounts
from task_migration.sync import change_log, sync_tables
from task_migration.sync.converge import REFUSED, forward_flow

NAMED = 20
ALERT_AGAIN_SECONDS = 3600
PUBLISHED_WITHIN_SECONDS = 5.0
"""So long does a finished check wait for its metrics to be published."""
_PUNCTUAL_SECONDS = 60
"""A timer that fires a moment early must not skip the hourly alert."""

_log = logging.getLogger(__name__)


class Inconsistent(Failed):
    """Both sides were compared, and they are not equal."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. ``passed`` is None if it could not run; ``reasons`` then say why."""

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
        return {True: "passed", False: "failed", None: "could not run"}[self.passed]

    @property
    def keys(self) -> list[str]:
        return [f"{one['table']} {one['key']} {one['kind']}" for one in self.differences[:NAMED]]

    def summary(self) -> str:
        if self.passed:
            return (
                f"consistency: {self.rows:,} rows compared in {self.seconds:.1f} s, 0 differences; "
                f"{self.change_log_length:,} entries on the change log"
            )
        return f"consistency: {self.word}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class AlertTarget:
    """Where an alert is sent, as ``alert.alert`` takes it."""

    alert_topic_arn: str
    alert_command: Sequence[str]
    aws: Aws


def consistency(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    quarantine_signed_off: dict[str, str] | None = None,
    alert_topic_arn: str = "",
    alert_command: Sequence[str] = (),
    aws: Aws,
    migration_environment: str = "",
    metrics_namespace: str = "",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Compares both sides while they are written and synced, stores the result, and sends an alert when it changes.

    It fails on differences, on rows unaccounted for, and on rows that could not be synced (dead letters) of a kind that
    is not in ``quarantine_signed_off``. It sends an alert when it first fails, at most hourly while it keeps failing,
    and when it passes again. It publishes metrics in ``metrics_namespace`` ("": nowhere). In check mode it stores,
    publishes and sends nothing. ``changed`` is always False: nothing that is migrated changes. Raises Inconsistent when
    it fails; if it could not run, it sends an alert too and raises what stopped it.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    task_service = database.task_service(task_service_dsn)
    target = AlertTarget(alert_topic_arn, alert_command, aws)
    metrics = cloudwatch_publisher.CloudWatchPublisher(
        metrics_namespace=metrics_namespace, migration_environment=migration_environment, aws=aws
    )
    started = time.monotonic()
    try:
        result = _check(laravel, task_service, quarantine_signed_off or {}, started, listener)
    except MigrationError as error:
        if not check:
            _record_and_alert(laravel, CheckResult(None, time.monotonic() - started, [str(error)]), target, metrics)
        raise
    if not check:
        _record_and_alert(laravel, result, target, metrics)
    if not result.passed:
        raise Inconsistent(
            "the two sides are not equal while the sync runs",
            measured="; ".join([*result.reasons, *result.keys[:5]]),
            allowed="no difference, every row accounted for, no dead letter",
            next_step="ansible-playbook phase-2.2-verify.yml lists the rows, ansible-playbook reconcile.yml fixes them",
        )
    return Outcome(
        False, result.summary(), {**result.details, "passed": result.passed, "keys": result.keys}, metrics.lines
    )


def _check(
    laravel: database.Side,
    task_service: database.Side,
    signed_off: dict[str, str],
    started: float,
    listener: progress.Listener,
) -> CheckResult:
    with (
        database.translated_errors(laravel),
        database.connect(laravel, "consistency") as origin,
        database.translated_errors(task_service),
        database.connect(task_service, "consistency") as destination,
    ):
        require_copy(origin, destination)
        flow = forward_flow(origin, destination)
        details = verdict_details(flow, differences(flow, listener=listener), signed_off)
        dead = _dead_letters(origin, destination, signed_off)
        dead_letters = sum(sum(sync_tables.dead_letters(side, signed_off).values()) for side in (origin, destination))
        pending = change_log.length(origin)
    tables = details["tables"]
    reasons = [*row_reasons(details), *dead]
    seconds = round(time.monotonic() - started, 3)
    return CheckResult(
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
    """Returns the rows that could not be synced, a few words for each kind."""
    found = []
    for side in (laravel, task_service):
        if "quarantine" in sync_tables.missing(side):
            continue
        found += [
            f"{group['count']} rows could not be synced to {side.side.title} ({group['kind']}: "
            f"{', '.join(group['sample_keys'])})"
            for group in row_accounts.quarantine_by_kind(side)
            if group["held_back"] and (group["kind"] in REFUSED or side is laravel) and group["kind"] not in signed_off
        ]
    return found


def _record_and_alert(
    laravel: database.Side, result: CheckResult, target: AlertTarget, metrics: cloudwatch_publisher.CloudWatchPublisher
) -> None:
    """Publishes the result, sends an alert if it changed, then stores it. A fault in any of these hides no result."""
    metrics.put(
        consistency_metrics.of_consistency(
            passed=result.passed,
            seconds=result.seconds,
            rows=result.rows,
            differences=result.number_of_differences,
            dead_letters=result.dead_letters,
        )
    )
    try:
        with database.translated_errors(laravel), database.connect(laravel, "consistency") as connection:
            before, alerted_ago = consistency_history.last_result(connection)
            alerted = _is_news(result.word, before, alerted_ago) and _send_alert(result, before, target)
            consistency_history.keep(
                connection,
                passed=result.passed,
                seconds=result.seconds,
                differences=result.number_of_differences,
                keys=result.keys,
                change_log_length=result.change_log_length,
                alerted=alerted,
                details=result.details or {"reasons": result.reasons},
            )
    except MigrationError as error:
        _log.error("could not store the result of the check: %s", error)
        if not result.passed:
            _send_alert(result, "", target)
    metrics.close(PUBLISHED_WITHIN_SECONDS)


def _is_news(word: str, before: str, alerted_ago: float | None) -> bool:
    """Returns whether to send an alert. ``before`` is how the previous check ended, "" if there was none."""
    if word == "passed":
        return before not in ("", "passed")
    return word != before or alerted_ago is None or alerted_ago >= ALERT_AGAIN_SECONDS - _PUNCTUAL_SECONDS


def _send_alert(result: CheckResult, before: str, target: AlertTarget) -> bool:
    """Returns whether the alert was sent."""
    if result.passed:
        subject, text = "Task migration: consistent again", f"{result.summary()}. The previous check {before}."
    else:
        subject = f"Task migration: the consistency check {result.word}"
        text = "\n".join([*result.reasons, *result.keys, "", "For the state: ansible-playbook status.yml"])
    try:
        alert.alert(
            subject=subject,
            message=text,
            aws=target.aws,
            alert_topic_arn=target.alert_topic_arn,
            alert_command=target.alert_command,
        )
    except MigrationError as error:
        _log.error("%s", error)
        return False
    return True
