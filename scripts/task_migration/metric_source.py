"""Where the figures of the canary's gate come from: one small interface, and the inventory's ``metric_source``.

A source counts and never judges. What it can't count is Unmeasured, which makes a gate inconclusive; what is missing is
never taken for none.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_type_hints

from task_migration.errors import MigrationError, Refused

if TYPE_CHECKING:
    from task_migration.cloudwatch import OnCloudWatch

KINDS = ("cloudwatch", "prometheus")

_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class Traffic:
    """What the Task Service was asked in a window.

    ``errors`` are answers of 500 and above, and requests that nothing answered; ``slow`` are the requests that took
    longer than the bound, and those whose time nobody took. ``p95_ms`` is that of the worst period, for the eye alone;
    None if no time was taken. ``all_requests`` are those to the task routes of both sides, and ``all_errors`` the
    answers of 500 and above that the gateway gave to them, whoever made these; None if nobody counts them.
    """

    requests: int
    errors: int
    slow: int
    p95_ms: float | None
    all_requests: int | None
    all_errors: int | None = None


class Unmeasured(MigrationError):
    """What could not be measured, and why: a gate that needs it is inconclusive."""

    prefix = "Not measured: "


class MetricSource(Protocol):
    """Counts of whole periods. ``delay_seconds`` is how long a period that is over may still change."""

    name: str
    period_seconds: int
    delay_seconds: float

    def window(self, since: datetime, now: datetime) -> tuple[datetime, datetime] | None:
        """The start and the end of the whole periods after ``since`` that change no more; None if there is none yet."""
        period = self.period_seconds
        start = math.ceil(since.timestamp() / period) * period
        end = math.floor((now.timestamp() - self.delay_seconds) / period) * period
        return (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)) if start < end else None

    def traffic(self, start: datetime, end: datetime, slow_ms: float) -> Traffic:
        """The Task Service's traffic from ``start`` until before ``end``. Raises Unmeasured."""

    def cpu_percent(self, start: datetime, end: datetime) -> float:
        """The CPU of the Task Service's database in its worst period. Raises Unmeasured."""


@dataclass(frozen=True)
class Setting:
    """What one key of ``metric_source`` takes: in words, and as a test."""

    allowed: str
    takes: Callable[[Any], bool]


def _is(kind: Any, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


TEXT = Setting("some text", lambda value: isinstance(value, str) and bool(value.strip()))
PERIOD = Setting(
    "1, 5, 10, 30 or a multiple of 60, up to 3,600",
    lambda value: _is(int, value) and (value in (1, 5, 10, 30) or (value in range(60, 3601) and value % 60 == 0)),
)
DELAY = Setting("seconds from 0 to 3,600", lambda value: _is(int | float, value) and 0 <= value <= 3600)


def source(settings: Mapping[str, Any], *, aws_region: str, aws_endpoint_url: str) -> MetricSource:
    """The source that the inventory's ``metric_source`` names. Raises Refused for settings that can't be meant."""
    # Each of the two takes its interface from here.
    from task_migration.cloudwatch import CloudWatch
    from task_migration.prometheus import InPrometheus, Prometheus, Queries

    kind = settings.get("kind")
    given = {name: value for name, value in settings.items() if name != "kind"}
    if kind == "cloudwatch":
        return CloudWatch(on_cloudwatch(settings), aws_region=aws_region, aws_endpoint_url=aws_endpoint_url)
    if kind == "prometheus":
        in_prometheus = _settings(InPrometheus, given, f"metric_source of kind {kind}")
        return Prometheus(in_prometheus, _settings(Queries, in_prometheus.queries, "metric_source.queries"))
    raise Refused(
        "the inventory's metric_source does not say where the canary's figures are",
        measured=f"kind {kind}" if "kind" in settings else "no kind",
        allowed=f"kind {' or '.join(KINDS)}",
        next_step="fill in metric_source in the inventory as roles/gate/README.md shows",
    )


def on_cloudwatch(settings: Mapping[str, Any]) -> OnCloudWatch:
    """The inventory's ``metric_source`` of kind cloudwatch. Raises Refused for settings that can't be meant."""
    from task_migration.cloudwatch import OnCloudWatch

    given = {name: value for name, value in settings.items() if name != "kind"}
    return _settings(OnCloudWatch, given, "metric_source of kind cloudwatch")


def _settings(kind: type[_Settings], given: Mapping[str, Any], named: str) -> _Settings:
    """The settings of one kind. Raises Refused for a key that is missing, unknown, or holds what can't be meant."""
    declared = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    takes = get_type_hints(kind, include_extras=True)
    for name in given:
        if name not in declared:
            close = difflib.get_close_matches(str(name), declared, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise _wrong(named, f"knows no {name}{meant}", ", ".join(declared))
    for name, one in declared.items():
        if name in given:
            setting: Setting = takes[name].__metadata__[0]
            if not setting.takes(given[name]):
                raise _wrong(named, f"can't use {name}={given[name]!r}", setting.allowed)
        elif one.default is dataclasses.MISSING:
            raise _wrong(named, f"lacks {name}", ", ".join(declared))
    return kind(**given)


def _wrong(named: str, what: str, allowed: str) -> Refused:
    return Refused(
        f"the inventory's {named} {what}",
        allowed=allowed,
        next_step="correct metric_source in the inventory as roles/gate/README.md shows",
    )
