"""The gate's figures from a Prometheus, or from anything that answers its HTTP API, by queries of the operator's.

A query gives one number, of the window that ends at the time that is asked for. No answer to ``requests`` is no
request; none to ``errors`` or ``all_errors`` beside requests is no error, since a counter is born with its first one.
None to any other is Unmeasured: it is more likely a name that is wrong than a good figure.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import httpx

from task_migration.canary.metric_source import DELAY, PERIOD, MetricSource, TrafficCounts, Unmeasured
from task_migration.external import web_address
from task_migration.external.inventory_mapping import TEXT, Setting

TIMEOUT_SECONDS = 10.0
LONGEST_ERROR = 300


def _query(*placeholders: str) -> Setting:
    def takes(value: Any) -> bool:
        return isinstance(value, str) and all(one in value for one in placeholders)

    return Setting(f"PromQL with {' and '.join(placeholders)} in it", takes)


_WINDOW = _query("{seconds}")
_QUERIES = Setting("a mapping of names to PromQL", lambda value: isinstance(value, Mapping))


@dataclass(frozen=True)
class PrometheusSettings:
    """The inventory's ``metric_source`` of kind prometheus. ``period_seconds`` is how often Prometheus scrapes."""

    url: Annotated[str, TEXT]
    period_seconds: Annotated[int, PERIOD]
    delay_seconds: Annotated[float, DELAY]
    queries: Annotated[Mapping[str, Any], _QUERIES]


@dataclass(frozen=True)
class PrometheusQueries:
    """Of the Task Service, but for ``all_requests`` and ``all_errors``: of the task routes on both sides, as the
    gateway answers them, "" if nobody counts them.

    In each, ``{seconds}`` is the window's length; in ``slow``, ``{slow_seconds}`` is the bound.
    """

    requests: Annotated[str, _WINDOW]
    errors: Annotated[str, _WINDOW]
    slow: Annotated[str, _query("{seconds}", "{slow_seconds}")]
    p95_ms: Annotated[str, _WINDOW]
    cpu_percent: Annotated[str, _WINDOW]
    all_requests: Annotated[str, _WINDOW] = ""
    all_errors: Annotated[str, _WINDOW] = ""


class PrometheusSource(MetricSource):
    """Asks Prometheus. Raises Refused for an address that won't do."""

    name = "Prometheus"

    def __init__(self, settings: PrometheusSettings, queries: PrometheusQueries) -> None:
        self._url = (
            web_address.checked(
                settings.url, title="Prometheus", exposes="what is asked of Prometheus", key="metric_source.url"
            )
            + "/api/v1/query"
        )
        self._queries = queries
        self.period_seconds = settings.period_seconds
        self.delay_seconds = settings.delay_seconds
        self._trust = ssl.create_default_context()

    def traffic(self, start: datetime, end: datetime, slow_ms: float) -> TrafficCounts:
        queries = self._queries
        with self._client() as client:
            counted = _count("requests", self._ask(client, "requests", queries.requests, start, end))
            failed = self._ask(client, "errors", queries.errors, start, end)
            slow_query = queries.slow.replace("{slow_seconds}", f"{slow_ms / 1000:.10g}")
            slowed = self._ask(client, "slow", slow_query, start, end)
            p95_ms = self._ask(client, "p95_ms", queries.p95_ms, start, end)
            all_requests = all_errors = None
            if queries.all_requests:
                all_requests = self._ask(client, "all_requests", queries.all_requests, start, end)
            if queries.all_errors:
                all_errors = self._ask(client, "all_errors", queries.all_errors, start, end)
        errors = _count("errors", failed)
        requests = max(counted, errors)
        if slowed is None and requests:
            raise _missing("slow", f"{requests} requests, and no answer to it")
        return TrafficCounts(
            requests,
            errors,
            min(requests, _count("slow", slowed)),
            p95_ms if p95_ms is not None and math.isfinite(p95_ms) else None,
            None if all_requests is None else _count("all_requests", all_requests),
            None if all_requests is None or not queries.all_errors else _count("all_errors", all_errors),
        )

    def cpu_percent(self, start: datetime, end: datetime) -> float:
        with self._client() as client:
            percent = self._ask(client, "cpu_percent", self._queries.cpu_percent, start, end)
        if percent is None or not math.isfinite(percent):
            raise _missing("cpu_percent", "no answer" if percent is None else f"{percent:g}")
        return percent

    def _client(self) -> httpx.Client:
        return httpx.Client(verify=self._trust, timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False)

    def _ask(self, client: httpx.Client, name: str, query: str, start: datetime, end: datetime) -> float | None:
        """The one number that a query gives; None if it gives none."""
        filled = query.replace("{seconds}", f"{(end - start).total_seconds():.0f}")
        try:
            answer = client.get(self._url, params={"query": filled, "time": f"{end.timestamp():.3f}"})
        except httpx.HTTPError as error:
            raise Unmeasured(
                "Prometheus gave no answer",
                measured=f"{type(error).__name__} at {self._url}: {error}",
                next_step="look at Prometheus, and at metric_source.url in the inventory",
            ) from error
        return _number(name, answer)


def _number(name: str, answer: httpx.Response) -> float | None:
    """What the HTTP API's page "Instant queries" says an answer is."""
    try:
        body = answer.json()
        if body["status"] != "success":
            raise _missing(name, _cut(f"HTTP {answer.status_code}, {body['errorType']}: {body['error']}"))
        kind, result = body["data"]["resultType"], body["data"]["result"]
        if kind == "vector" and len(result) > 1:
            raise _missing(name, f"{len(result)} series, and not one; wrap it in sum(...) or max(...)")
        if kind == "vector" and not result:
            return None
        if kind not in ("vector", "scalar"):
            raise _missing(name, f"a {kind}, and no single number")
        number = float((result if kind == "scalar" else result[0]["value"])[1])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _missing(name, f"HTTP {answer.status_code} with no number as Prometheus gives it") from error
    return None if math.isnan(number) else number


def _count(name: str, number: float | None) -> int:
    """A whole number: what Prometheus extrapolates is rounded, but what there was is never rounded to none."""
    if number is None or number == 0:
        return 0
    if number < 0 or not math.isfinite(number):
        raise _missing(name, f"{number:g}, which is no count")
    return max(1, round(number))


def _missing(name: str, measured: str) -> Unmeasured:
    return Unmeasured(
        f"Prometheus does not answer metric_source.queries.{name}",
        measured=measured,
        next_step="try the query in Prometheus, then correct it in the inventory",
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_ERROR else text[:LONGEST_ERROR] + "..."
