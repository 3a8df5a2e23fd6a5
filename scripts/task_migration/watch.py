"""Watches the dual write for as long as it lasts: judges its conditions again and again, and says when one is breached.

It only looks, and holds no lock: others must be able to work for days. What follows from a breach is the playbook's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from task_migration import alert, conditions, database, journal, progress, switch
from task_migration.conditions import Bounds, Condition, Sample
from task_migration.errors import MigrationError, Refused
from task_migration.measuring import Measuring
from task_migration.outcome import Outcome
from task_migration.probe import Probe

WRITE_DOWN_SECONDS = 3600.0
_LEAST_SECONDS = 1.0
"""In a log, progress below a second is left out."""


def watch(
    *,
    laravel_dsn: str,
    sync_health_ports: Mapping[str, int],
    task_service_url: str = "",
    task_service_ca_file: str = "",
    trigger_error_rate_percent: float = 5,
    trigger_latency_ms: float = 500,
    change_log_warn_entries: int = 100_000,
    change_log_max_entries: int = 1_000_000,
    consistency_every_seconds: int = 3600,
    alert_topic_arn: str = "",
    alert_command: Sequence[str] = (),
    aws_region: str,
    aws_endpoint_url: str = "",
    watch_interval_seconds: float = 30,
    watch_seconds: float = 0,
    check: bool = False,
    listener: progress.Listener = progress.nobody,
) -> Outcome:
    """Judges every ``watch_interval_seconds`` until a condition is breached, the switch is turned off, or
    ``watch_seconds`` are over (0: never). The API is asked all the while, so that each judgement has its own requests.

    Somebody is told when the change log grows beyond its bounds, and when what was known gets unknown. How many
    requests failed is written down every hour and at the end. In check mode it judges once. Details: ``breached``,
    ``cause`` in one line, ``conditions``, ``requests``, ``errors``. Raises Refused if the sync is off already.
    """
    bounds = Bounds(
        trigger_error_rate_percent,
        trigger_latency_ms,
        change_log_warn_entries,
        change_log_max_entries,
        consistency_every_seconds,
    )
    laravel = database.laravel(laravel_dsn)
    _refuse_if_off(laravel)
    probe = Probe(task_service_url, task_service_ca_file, watch_interval_seconds) if task_service_url else None
    measuring = Measuring(laravel, int(sync_health_ports["forward"]), probe, bounds)
    told = _Told(alert_topic_arn, alert_command, aws_region, aws_endpoint_url)
    if check:
        sample = measuring.sample(probe.burst(0) if probe else None)
        return _ended("looked once", conditions.judged(sample, bounds), probe, 0)
    began = written = time.monotonic()
    count = _Count(laravel_dsn, probe)
    with probe.asking() if probe else nullcontext():
        for number in range(1, 1 << 62):
            due = began + number * watch_interval_seconds
            time.sleep(max(0.0, (min(due, began + watch_seconds) if watch_seconds else due) - time.monotonic()))
            sample = measuring.sample()
            seconds = time.monotonic() - began
            found = conditions.judged(sample, bounds)
            listener(progress.Progress("watching", 0, 0, "", max(seconds, _LEAST_SECONDS), line(sample, found, number)))
            if measuring.position is not None and not measuring.position.is_on:
                count.write_down()
                return _ended(_off(measuring.position), [], probe, seconds)
            if conditions.breached(found):
                break
            told.of(found)
            if watch_seconds and seconds >= watch_seconds:
                break
            if time.monotonic() - written >= WRITE_DOWN_SECONDS:
                written = time.monotonic()
                count.write_down()
    count.write_down()
    return _ended(f"{seconds:.0f} s are over", found, probe, seconds)


def line(sample: Sample, found: Sequence[Condition], number: int) -> str:
    """One judgement's figures in one line; what is not fine comes first."""
    api = sample.api
    parts = [
        f"{api.errors} of {api.requests} requests failed" if api else "API unknown",
        f"API p95 {api.p95_ms:.0f} ms" if api and api.p95_ms is not None else "",
        f"sync {sample.state}" + (f" p95 {sample.lag_ms:.0f} ms" if sample.lag_ms is not None else ""),
        f"{sample.pending:,} waiting" if sample.pending is not None else sample.laravel_trouble,
        f"consistency {sample.check.word}" if sample.check else "consistency unknown",
    ]
    bad = [f"{one.grade.upper()} {one}" for one in found if one.grade not in ("fine", "unknown")]
    return f"look {number}: " + ", ".join(filter(None, [*bad, *parts]))


def _refuse_if_off(laravel: database.Side) -> None:
    with database.said(laravel), database.connect(laravel, "watch") as connection:
        position = switch.position(connection, "sync_forward")
    if not position.is_on:
        raise Refused(
            "there is nothing to watch: the sync is off",
            measured=_off(position) if position.changed_at else "it was never turned on",
            next_step="ansible-playbook phase-2.3-dual-write.yml",
        )


def _off(position: switch.Position) -> str:
    since = f"{position.changed_at:%Y-%m-%d %H:%M:%S} UTC" if position.changed_at else "an unknown time"
    return f"the sync was turned off at {since} by {position.changed_by}: {position.reason or 'no reason was given'}"


def _ended(why: str, found: Sequence[Condition], probe: Probe | None, seconds: float) -> Outcome:
    bad = conditions.breached(found)
    cause = "; ".join(map(str, bad))
    return Outcome(
        False,
        f"BREACHED: {cause}" if bad else f"watched for {seconds:.0f} s, nothing was breached; {why}",
        {
            "breached": bool(bad),
            "cause": cause,
            "conditions": [one.as_dict() for one in found],
            "requests": probe.requests if probe else 0,
            "errors": probe.errors if probe else 0,
        },
        tuple(f"{one.grade}: {one}" for one in found),
    )


class _Count:
    """How many requests failed since it was last written down: what the checklist's error rate is made of."""

    def __init__(self, laravel_dsn: str, probe: Probe | None) -> None:
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
    """Tells somebody once when a condition gets red, when the change log warns, and when a known one gets unknown."""

    def __init__(self, topic_arn: str, command: Sequence[str], aws_region: str, aws_endpoint_url: str) -> None:
        self._ways = {
            "alert_topic_arn": topic_arn,
            "alert_command": command,
            "aws_region": aws_region,
            "aws_endpoint_url": aws_endpoint_url,
        }
        self._before: dict[str, str] = {}

    def of(self, found: Sequence[Condition]) -> None:
        """An alert that can't be sent must not end the watch: it is tried again at the next look."""
        for one in found:
            before = self._before.get(one.name)
            if one.grade == before or not self._is_news(one, before) or self._tell(one):
                self._before[one.name] = one.grade

    def _is_news(self, one: Condition, before: str | None) -> bool:
        if one.grade == "unknown":
            return before is not None
        return one.grade == "red" or (one.grade == "warns" and one.name == "change log" and before != "red")

    def _tell(self, one: Condition) -> bool:
        try:
            alert.alert(subject=f"Task migration: {one.name}: {one.grade}", message=str(one), **self._ways)  # type: ignore[arg-type]
        except MigrationError:
            return False
        return True
