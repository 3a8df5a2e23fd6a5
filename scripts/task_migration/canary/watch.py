"""Watches the dual write, and the canary while traffic is moved: judges their conditions repeatedly, and returns when
one is breached.

It changes nothing and holds no lock, because other operators must be able to work for days. The playbook rolls back, so
the watch returns with a breach only while no other operator holds the lock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext

from task_migration import progress, times
from task_migration.canary import canary_metrics, rollback_conditions
from task_migration.canary.api_probe import ApiProbe, ApiProbeResult
from task_migration.canary.canary_settings import CanaryEndpoints, CanarySettings
from task_migration.canary.canary_watch import CanaryCheck, CanaryWatch
from task_migration.canary.dual_write_sampler import DualWriteSampler, error_text
from task_migration.canary.rollback_conditions import Condition, DualWriteBounds, DualWriteSample
from task_migration.control import checklist, journal, operator_lock, phase_gate, sync_switch
from task_migration.errors import MigrationError, Refused
from task_migration.external import alert, cloudwatch_publisher
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.traffic.stage import Gateway

RECORD_SECONDS = 3600.0
_LEAST_SECONDS = 1.0
"""Progress of less than a second is not shown in a log."""


def watch(
    *,
    endpoints: CanaryEndpoints,
    bounds: DualWriteBounds,
    canary: CanarySettings,
    gateway: Gateway,
    aws: Aws,
    alert_topic_arn: str = "",
    alert_command: Sequence[str] = (),
    watch_interval_seconds: float = 30,
    watch_seconds: float = 0,
    migration_environment: str = "",
    metrics_namespace: str = "",
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Judges every ``watch_interval_seconds`` until a condition is breached, the switch is turned off, or
    ``watch_seconds`` have passed (0: never). The API is probed all the time, so that each check has its own requests.

    While traffic goes to the Task Service it judges the canary too, as its gate does, and the switch may be off. An
    empty ``gateway_rest_api_id`` means that no traffic can be moved. A breach cannot be rolled back while another
    operator holds the lock or Laravel's database is away: then an alert is sent, and the watch continues.

    An alert is also sent when the change log exceeds its bounds, and when a known value becomes unknown. The number of
    failed requests is recorded every hour and at the end; each check's metrics are published in ``metrics_namespace``
    ("": nowhere). In check mode it judges once. Details: ``breached``; ``cause`` in one line; ``takes_back``, the phase
    to roll back ("2.4" the canary, which is first, "2.3" the dual write, "" nothing); ``conditions``, ``requests``,
    ``errors``. Raises Refused if the sync is off already, and no traffic is moved.
    """
    laravel_dsn = endpoints.laravel_dsn
    laravel, task_service = database.laravel(laravel_dsn), database.task_service(endpoints.task_service_dsn)
    canary_watch = None
    if gateway.gateway_rest_api_id:
        # There is no gap between two checks.
        recent = max(watch_interval_seconds, canary.canary_interval_seconds)
        canary_watch = CanaryWatch(gateway, canary, endpoints, bounds, aws, recent_seconds=recent)
    _refuse_if_off(laravel, canary_watch)
    probe = None
    if endpoints.task_service_url:
        probe = ApiProbe(endpoints.task_service_url, endpoints.task_service_ca_file, watch_interval_seconds)
    sampler = DualWriteSampler(laravel, int(endpoints.sync_health_ports["forward"]), probe, bounds, task_service)
    alerts = _ConditionAlerts(alert_topic_arn, alert_command, aws)
    metrics = cloudwatch_publisher.CloudWatchPublisher(
        metrics_namespace=metrics_namespace, migration_environment=migration_environment, aws=aws
    )

    def measure(api: ApiProbeResult | None = None) -> tuple[DualWriteSample, list[Condition], str]:
        of_canary = canary_watch.check() if canary_watch else CanaryCheck([], "")
        sample = sampler.sample(api)
        share = canary_watch.share if canary_watch else None
        if not check:
            metrics.put({**canary_metrics.of_watch(sample, share), **of_canary.metrics})
        conditions = [*rollback_conditions.judge(sample, bounds, share or 0), *of_canary.conditions]
        return sample, conditions, of_canary.summary

    if check:
        with canary_watch or nullcontext():
            _, conditions, _ = measure(probe.burst(0) if probe else None)
        return _outcome(
            "checked once", conditions, probe, 0, _phase_to_roll_back(laravel_dsn, canary_watch, conditions)
        )
    started = recorded = time.monotonic()
    count = _RequestCount(laravel_dsn, probe)
    obstacle = ""
    with metrics, canary_watch or nullcontext(), probe.running() if probe else nullcontext():
        for number in range(1, 1 << 62):
            due = started + number * watch_interval_seconds
            time.sleep(max(0.0, (min(due, started + watch_seconds) if watch_seconds else due) - time.monotonic()))
            sample, conditions, canary_summary = measure()
            position = sampler.position
            is_breached = bool(rollback_conditions.breached(conditions))
            obstacle_before = obstacle
            obstacle = _obstacle(laravel_dsn) if is_breached else sample.forward.trouble if position is None else ""
            if is_breached and obstacle:
                allowed = "Laravel's database answers, and no other operator holds the lock"
                conditions.append(Condition("rollback", "red", obstacle, allowed))
            seconds = time.monotonic() - started
            note = line(sample, conditions, number, canary_summary)
            note += "; metrics are not published" if metrics.trouble else ""
            listener(progress.Progress("watching", 0, 0, "", max(seconds, _LEAST_SECONDS), note))
            if position is not None and not position.is_on and (ended := _past_return(laravel_dsn)):
                return _outcome(ended, [], probe, seconds)
            if position is not None and not position.is_on and not (canary_watch and canary_watch.may_have_moved):
                count.record()
                return _outcome(_switched_off(position), [], probe, seconds)
            # What was the obstacle may have fixed the breach, so that is checked once more.
            if is_breached and not obstacle and not obstacle_before:
                break
            alerts.update(conditions)
            if watch_seconds and seconds >= watch_seconds:
                break
            if time.monotonic() - recorded >= RECORD_SECONDS:
                recorded = time.monotonic()
                count.record()
    count.record()
    phase = _phase_to_roll_back(laravel_dsn, canary_watch, conditions)
    return _outcome(f"{seconds:.0f} s have passed", conditions, probe, seconds, phase)


def line(sample: DualWriteSample, conditions: Sequence[Condition], number: int, canary_summary: str) -> str:
    """Returns one check in one line; what is not fine comes first, the canary's values last."""
    api, sync = sample.api, sample.forward
    parts = [
        f"{api.errors} of {api.requests} requests failed" if api else "API unknown",
        f"API p95 {api.p95_ms:.0f} ms" if api and api.p95_ms is not None else "",
        f"sync {sync.state}" + (f" p95 {sync.latency_ms:.0f} ms" if sync.latency_ms is not None else ""),
        f"{sync.pending:,} waiting" if sync.pending is not None else sync.trouble,
        f"consistency {sample.check.word}" if sample.check else "consistency unknown",
    ]
    bad = [f"{one.grade.upper()} {one}" for one in conditions if one.grade in ("warns", "red", "breached")]
    unproven = ", ".join(one.name for one in conditions if one.grade == "unproven")
    dual_write = ", ".join(filter(None, [*bad, *parts]))
    not_proven = f"not proven: {unproven}" if unproven else ""
    return f"check {number}: " + "; ".join(filter(None, [dual_write, canary_summary, not_proven]))


def _refuse_if_off(laravel: database.Side, canary_watch: CanaryWatch | None) -> None:
    with database.translated_errors(laravel), database.connect(laravel, "watch") as connection:
        position = sync_switch.position(connection, "sync_forward")
    if not position.is_on and (ended := _past_return(laravel.dsn)):
        raise Refused(f"there is nothing to watch: {ended}", next_step="ansible-playbook status.yml")
    if not position.is_on and canary_watch:
        canary_watch.read_traffic()
    if not position.is_on and not (canary_watch and canary_watch.may_have_moved):
        raise Refused(
            "there is nothing to watch: the sync is off",
            measured=_switched_off(position) if position.changed_at else "it was never turned on",
            next_step="ansible-playbook phase-2.3-dual-write.yml",
        )


def _past_return(laravel_dsn: str) -> str:
    """Returns that the migration is past the point of no return, "" if not: then nothing could be rolled back."""
    side = database.laravel(laravel_dsn)
    try:
        with database.translated_errors(side), database.connect(side, "watch") as connection:
            entry = checklist.past_return(checklist.in_effect(journal.entries(connection)))
    except MigrationError:
        return ""  # the next check reads it again
    return f"phase 2.5 started {times.when(entry.at)}: nothing can be rolled back any more" if entry else ""


def _switched_off(position: sync_switch.Position) -> str:
    since = f"{position.changed_at:%Y-%m-%d %H:%M:%S} UTC" if position.changed_at else "an unknown time"
    return f"the sync was turned off at {since} by {position.changed_by}: {position.reason or 'without a reason'}"


def _obstacle(laravel_dsn: str) -> str:
    """Returns why nothing can be rolled back now; "" if it can."""
    try:
        operator_lock.operator_lock(laravel_dsn=laravel_dsn, command="watch", check=True)
    except MigrationError as error:
        return error_text(error)
    return ""


def _phase_to_roll_back(laravel_dsn: str, canary_watch: CanaryWatch | None, conditions: Sequence[Condition]) -> str:
    """Returns the phase that a breach rolls back, "" without one: the dual write never before the canary, whose own
    rollback must have finished."""
    if not rollback_conditions.breached(conditions):
        return ""
    if canary_watch is None:
        return "2.3"
    if canary_watch.share:
        return "2.4"
    try:
        phase_gate.phase_gate(laravel_dsn=laravel_dsn, phase="2.4", required_state="rolled back")
    except MigrationError:
        return "2.4"
    return "2.3"


def _outcome(
    why: str, conditions: Sequence[Condition], probe: ApiProbe | None, seconds: float, phase_to_roll_back: str = ""
) -> Outcome:
    bad = rollback_conditions.breached(conditions)
    cause = "; ".join(map(str, bad))
    return Outcome(
        False,
        f"BREACHED: {cause}" if bad else f"watched for {seconds:.0f} s, nothing was breached; {why}",
        {
            "breached": bool(bad),
            "cause": cause,
            "takes_back": phase_to_roll_back,
            "conditions": [one.as_dict() for one in conditions],
            "requests": probe.requests if probe else 0,
            "errors": probe.errors if probe else 0,
        },
        tuple(f"{one.grade}: {one}" for one in conditions),
    )


class _RequestCount:
    """Counts requests and errors since they were last recorded: the checklist's error rate is computed from these."""

    def __init__(self, laravel_dsn: str, probe: ApiProbe | None) -> None:
        self._laravel_dsn = laravel_dsn
        self._probe = probe
        self._requests = self._errors = 0

    def record(self) -> None:
        """Records them in the journal. If that fails, they are recorded the next time, and the watch continues."""
        if self._probe is None:
            return
        requests, errors = self._probe.requests, self._probe.errors
        evidence = {"requests": requests - self._requests, "errors": errors - self._errors}
        try:
            journal.journal(
                laravel_dsn=self._laravel_dsn, phase="2.3", item="error_rate", result="done", evidence=evidence
            )
        except MigrationError:
            return
        self._requests, self._errors = requests, errors


class _ConditionAlerts:
    """Sends one alert when a condition becomes red, when the change log warns, and when a known one becomes unknown. A
    condition that is gone is forgotten."""

    def __init__(self, topic_arn: str, command: Sequence[str], aws: Aws) -> None:
        self._topic_arn, self._command, self._aws = topic_arn, command, aws
        self._before: dict[str, str] = {}

    def update(self, conditions: Sequence[Condition]) -> None:
        """Sends the alerts that these conditions need. One that cannot be sent must not stop the watch: it is sent at
        the next check."""
        self._before = {one.name: self._before[one.name] for one in conditions if one.name in self._before}
        bad = rollback_conditions.breached(conditions)
        for one in conditions:
            before = self._before.get(one.name)
            if one.grade == before or not self._is_news(one, before) or self._send(one, bad):
                self._before[one.name] = one.grade

    def _is_news(self, one: Condition, before: str | None) -> bool:
        if one.grade == "unknown":
            return before is not None
        return one.grade == "red" or (one.grade == "warns" and one.name == "change log" and before != "red")

    def _send(self, one: Condition, breached: Sequence[Condition]) -> bool:
        message = "; ".join(map(str, [one, *breached]))
        try:
            alert.alert(
                subject=f"Task migration: {one.name}: {one.grade}",
                message=message,
                aws=self._aws,
                alert_topic_arn=self._topic_arn,
                alert_command=self._command,
            )
        except MigrationError:
            return False
        return True
