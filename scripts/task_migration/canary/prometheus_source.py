"""Reads the canary's metrics from Prometheus, or from a server with its HTTP API, by the inventory's queries.

A query returns one number, for the window that ends at the requested time. An empty result of ``requests`` is 0; one of
``errors`` or ``all_errors`` is 0 if there are requests, because a counter does not exist before its first event. An
empty result of any other query is Unmeasured: a wrong name is more likely than a good value.
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

    return Setting(f"PromQL that contains {' and '.join(placeholders)}", takes)


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
    """The queries for the Task Service. ``all_requests`` and ``all_errors`` are for the task routes of both sides, as
    counted at the gateway; "" if they are not counted.

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
    """Queries Prometheus. Raises Refused if its address is not valid."""

    name = "Prometheus"

    def __init__(self, settings: PrometheusSettings, queries: PrometheusQueries) -> None:
        self._url = (
            web_address.checked(
                settings.url, title="Prometheus", exposes="queries to Prometheus", key="metric_source.url"
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
            raise _missing("slow", f"{requests} requests, but an empty result")
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
            raise _missing("cpu_percent", "an empty result" if percent is None else f"{percent:g}")
        return percent

    def _client(self) -> httpx.Client:
        return httpx.Client(verify=self._trust, timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False)

    def _ask(self, client: httpx.Client, name: str, query: str, start: datetime, end: datetime) -> float | None:
        """Returns the number that a query returns; None if its result is empty."""
        filled = query.replace("{seconds}", f"{(end - start).total_seconds():.0f}")
        try:
            answer = client.get(self._url, params={"query": filled, "time": f"{end.timestamp():.3f}"})
        except httpx.HTTPError as error:
            raise Unmeasured(
                "Prometheus did not answer",
                measured=f"{type(error).__name__} at {self._url}: {error}",
                next_step="check Prometheus, and metric_source.url in the inventory",
            ) from error
        return _number(name, answer)


def _number(name: str, answer: httpx.Response) -> float | None:
    """Reads an answer, as the documentation of the HTTP API describes it under "Instant queries"."""
    try:
        body = answer.json()
        if body["status"] != "success":
            raise _missing(name, _cut(f"HTTP {answer.status_code}, {body['errorType']}: {body['error']}"))
        kind, result = body["data"]["resultType"], body["data"]["result"]
        if kind == "vector" and len(result) > 1:
            raise _missing(name, f"{len(result)} series instead of one; put it in sum(...) or max(...)")
        if kind == "vector" and not result:
            return None
        if kind not in ("vector", "scalar"):
            raise _missing(name, f"a {kind} instead of one number")
        number = float((result if kind == "scalar" else result[0]["value"])[1])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _missing(name, f"HTTP {answer.status_code} without a number in Prometheus's format") from error
    return None if math.isnan(number) else number


def _count(name: str, number: float | None) -> int:
    """Returns a whole number: Prometheus extrapolates, so it is rounded, but never to 0."""
    if number is None or number == 0:
        return 0
    if number < 0 or not math.isfinite(number):
        raise _missing(name, f"{number:g}, which is not a count")
    return max(1, round(number))


def _missing(name: str, measured: str) -> Unmeasured:
    return Unmeasured(
        f"Prometheus has no valid result for metric_source.queries.{name}",
        measured=measured,
        next_step="run the query in Prometheus, then correct it in the inventory",
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_ERROR else text[:LONGEST_ERROR] + "..."
