"""Watches the dual write for as long as it lasts, and the canary while traffic is moved: judges their conditions again
and again, and says when one is breached.

It only looks, and holds no lock: others must be able to work for days. What follows from a breach is the playbook's, so
it ends with one only when nobody else is at work.
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
from task_migration.canary.dual_write_sampler import DualWriteSampler, in_short
from task_migration.canary.rollback_conditions import Condition, DualWriteBounds, DualWriteSample
from task_migration.control import checklist, journal, operator_lock, phase_gate, sync_switch
from task_migration.errors import MigrationError, Refused
from task_migration.external import alert, cloudwatch_publisher
from task_migration.external.aws import Aws
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.traffic.stage import Gateway

WRITE_DOWN_SECONDS = 3600.0
_LEAST_SECONDS = 1.0
"""In a log, progress below a second is left out."""


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
    ``watch_seconds`` are over (0: never). The API is asked all the while, so that each judgement has its own requests.

    While traffic goes to the Task Service it judges the canary too, as its gate does, and the switch may be off. An
    empty ``gateway_rest_api_id`` means that no traffic can be moved. A breach during which another operator is at work,
    or Laravel's database away, can't be taken back now: somebody is told, and it looks on.

    Somebody is told when the change log grows beyond its bounds, and when what was known gets unknown. How many
    requests failed is written down every hour and at the end, and each look's figures are published in
    ``metrics_namespace`` ("": nowhere). In check mode it judges once. Details: ``breached``,
    ``cause`` in one line, ``takes_back`` ("2.4" the canary, which goes first, "2.3" the dual write, "" nothing),
    ``conditions``, ``requests``, ``errors``. Raises Refused if the sync is off already, and no traffic is moved.
    """
    laravel_dsn = endpoints.laravel_dsn
    laravel, task_service = database.laravel(laravel_dsn), database.task_service(endpoints.task_service_dsn)
    moved = None
    if gateway.gateway_rest_api_id:
        # No look leaves a gap to the one before.
        recent = max(watch_interval_seconds, canary.canary_interval_seconds)
        moved = CanaryWatch(gateway, canary, endpoints, bounds, aws, recent_seconds=recent)
    _refuse_if_off(laravel, moved)
    probe = None
    if endpoints.task_service_url:
        probe = ApiProbe(endpoints.task_service_url, endpoints.task_service_ca_file, watch_interval_seconds)
    measuring = DualWriteSampler(laravel, int(endpoints.sync_health_ports["forward"]), probe, bounds, task_service)
    told = _Told(alert_topic_arn, alert_command, aws)
    metrics = cloudwatch_publisher.CloudWatchPublisher(
        metrics_namespace=metrics_namespace, migration_environment=migration_environment, aws=aws
    )

    def look(api: ApiProbeResult | None = None) -> tuple[DualWriteSample, list[Condition], str]:
        seen = moved.look() if moved else CanaryCheck([], "")
        sample = measuring.sample(api)
        share = moved.share if moved else None
        if not check:
            metrics.put({**canary_metrics.of_watch(sample, share), **seen.figures})
        return sample, [*rollback_conditions.judge(sample, bounds, share or 0), *seen.conditions], seen.told

    if check:
        with moved or nullcontext():
            _, found, _ = look(probe.burst(0) if probe else None)
        return _ended("looked once", found, probe, 0, _takes_back(laravel_dsn, moved, found))
    began = written = time.monotonic()
    count = _Count(laravel_dsn, probe)
    hindrance = ""
    with metrics, moved or nullcontext(), probe.asking() if probe else nullcontext():
        for number in range(1, 1 << 62):
            due = began + number * watch_interval_seconds
            time.sleep(max(0.0, (min(due, began + watch_seconds) if watch_seconds else due) - time.monotonic()))
            sample, found, of_canary = look()
            position = measuring.position
            is_breached = bool(rollback_conditions.breached(found))
            hindered_before = hindrance
            hindrance = _hindrance(laravel_dsn) if is_breached else sample.forward.trouble if position is None else ""
            if is_breached and hindrance:
                found.append(Condition("way back", "red", hindrance, "Laravel answers, and nobody else is at work"))
            seconds = time.monotonic() - began
            note = line(sample, found, number, of_canary) + ("; metrics are not published" if metrics.trouble else "")
            listener(progress.Progress("watching", 0, 0, "", max(seconds, _LEAST_SECONDS), note))
            if position is not None and not position.is_on and (ended := _no_way_back(laravel_dsn)):
                return _ended(ended, [], probe, seconds)
            if position is not None and not position.is_on and not (moved and moved.may_have_moved):
                count.write_down()
                return _ended(_off(position), [], probe, seconds)
            # What hindered it may have mended what was breached, so that is looked at once more.
            if is_breached and not hindrance and not hindered_before:
                break
            told.of(found)
            if watch_seconds and seconds >= watch_seconds:
                break
            if time.monotonic() - written >= WRITE_DOWN_SECONDS:
                written = time.monotonic()
                count.write_down()
    count.write_down()
    return _ended(f"{seconds:.0f} s are over", found, probe, seconds, _takes_back(laravel_dsn, moved, found))


def line(sample: DualWriteSample, found: Sequence[Condition], number: int, canary: str) -> str:
    """One judgement's figures in one line, those of the canary at its end; what is not fine comes first."""
    api, sync = sample.api, sample.forward
    parts = [
        f"{api.errors} of {api.requests} requests failed" if api else "API unknown",
        f"API p95 {api.p95_ms:.0f} ms" if api and api.p95_ms is not None else "",
        f"sync {sync.state}" + (f" p95 {sync.lag_ms:.0f} ms" if sync.lag_ms is not None else ""),
        f"{sync.pending:,} waiting" if sync.pending is not None else sync.trouble,
        f"consistency {sample.check.word}" if sample.check else "consistency unknown",
    ]
    bad = [f"{one.grade.upper()} {one}" for one in found if one.grade in ("warns", "red", "breached")]
    unproven = ", ".join(one.name for one in found if one.grade == "unproven")
    dual_write = ", ".join(filter(None, [*bad, *parts]))
    not_proven = f"not proven: {unproven}" if unproven else ""
    return f"look {number}: " + "; ".join(filter(None, [dual_write, canary, not_proven]))


def _refuse_if_off(laravel: database.Side, canary: CanaryWatch | None) -> None:
    with database.translated_errors(laravel), database.connect(laravel, "watch") as connection:
        position = sync_switch.position(connection, "sync_forward")
    if not position.is_on and (ended := _no_way_back(laravel.dsn)):
        raise Refused(f"there is nothing to watch: {ended}", next_step="ansible-playbook status.yml")
    if not position.is_on and canary:
        canary.traffic()
    if not position.is_on and not (canary and canary.may_have_moved):
        raise Refused(
            "there is nothing to watch: the sync is off",
            measured=_off(position) if position.changed_at else "it was never turned on",
            next_step="ansible-playbook phase-2.3-dual-write.yml",
        )


def _no_way_back(laravel_dsn: str) -> str:
    """That the migration has ended, "" as long as it has not: then nothing could be taken back."""
    side = database.laravel(laravel_dsn)
    try:
        with database.translated_errors(side), database.connect(side, "watch") as connection:
            entry = checklist.past_return(checklist.standing(journal.entries(connection)))
    except MigrationError:
        return ""  # it is asked again at the next look
    return f"phase 2.5 has begun, {times.when(entry.at)}: there is nothing to take back any more" if entry else ""


def _off(position: sync_switch.Position) -> str:
    since = f"{position.changed_at:%Y-%m-%d %H:%M:%S} UTC" if position.changed_at else "an unknown time"
    return f"the sync was turned off at {since} by {position.changed_by}: {position.reason or 'no reason was given'}"


def _hindrance(laravel_dsn: str) -> str:
    """Why nothing can be taken back now; "" if it can."""
    try:
        operator_lock.operator_lock(laravel_dsn=laravel_dsn, command="watch", check=True)
    except MigrationError as error:
        return in_short(error)
    return ""


def _takes_back(laravel_dsn: str, canary: CanaryWatch | None, found: Sequence[Condition]) -> str:
    """The phase that a breach takes back, "" without one: never the dual write before the canary, which is gone only
    when its rollback has ended."""
    if not rollback_conditions.breached(found):
        return ""
    if canary is None:
        return "2.3"
    if canary.share:
        return "2.4"
    try:
        phase_gate.phase_gate(laravel_dsn=laravel_dsn, phase="2.4", standing="taken back")
    except MigrationError:
        return "2.4"
    return "2.3"


def _ended(
    why: str, found: Sequence[Condition], probe: ApiProbe | None, seconds: float, takes_back: str = ""
) -> Outcome:
    bad = rollback_conditions.breached(found)
    cause = "; ".join(map(str, bad))
    return Outcome(
        False,
        f"BREACHED: {cause}" if bad else f"watched for {seconds:.0f} s, nothing was breached; {why}",
        {
            "breached": bool(bad),
            "cause": cause,
            "takes_back": takes_back,
            "conditions": [one.as_dict() for one in found],
            "requests": probe.requests if probe else 0,
            "errors": probe.errors if probe else 0,
        },
        tuple(f"{one.grade}: {one}" for one in found),
    )


class _Count:
    """How many requests failed since it was last written down: what the checklist's error rate is made of."""

    def __init__(self, laravel_dsn: str, probe: ApiProbe | None) -> None:
        self._laravel_dsn = laravel_dsn
        self._probe = probe
        self._requests = self._errors = 0

    def write_down(self) -> None:
        """What can't be written now is written the next time; the watch goes on."""
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


class _Told:
    """Tells somebody once when a condition gets red, when the change log warns, and when a known one gets unknown. What
    is not there any more is forgotten."""

    def __init__(self, topic_arn: str, command: Sequence[str], aws: Aws) -> None:
        self._topic_arn, self._command, self._aws = topic_arn, command, aws
        self._before: dict[str, str] = {}

    def of(self, found: Sequence[Condition]) -> None:
        """An alert that can't be sent must not end the watch: it is tried again at the next look."""
        self._before = {one.name: self._before[one.name] for one in found if one.name in self._before}
        bad = rollback_conditions.breached(found)
        for one in found:
            before = self._before.get(one.name)
            if one.grade == before or not self._is_news(one, before) or self._tell(one, bad):
                self._before[one.name] = one.grade

    def _is_news(self, one: Condition, before: str | None) -> bool:
        if one.grade == "unknown":
            return before is not None
        return one.grade == "red" or (one.grade == "warns" and one.name == "change log" and before != "red")

    def _tell(self, one: Condition, breached: Sequence[Condition]) -> bool:
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
