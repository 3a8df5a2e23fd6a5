"""Figures for CloudWatch, by PutMetricData: sent by a thread of its own, so that whoever measures never waits for AWS.

It is a copy for alarms and dashboards; no gate reads it. So it is given up rather than waited for: what can't be sent
now is kept for later, one request's worth at most, and what can't be sent at all is missing, which is an alarm itself.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Any

import yaml

from task_migration.errors import MigrationError, Refused
from task_migration.external import aws

MOST_DATA = 1000
"""What one PutMetricData takes (API reference), and so the most that is kept while CloudWatch is away."""
CONNECT_SECONDS, READ_SECONDS = 2.0, 3.0
PATIENCE_SECONDS = 1.0
"""For what is on its way when whoever measures has ended: a way back may follow."""
LONGEST_NAMESPACE = 255
_NAMESPACE = re.compile(r"(?!AWS/)[0-9A-Za-z._/#:-]+")

_log = logging.getLogger(__name__)


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """Every metric by its name: ``unit``, ``by``, ``directed``, ``about``."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(
        (files("task_migration") / "external" / "metric_data.yml").read_text(encoding="utf-8")
    )
    return found


class CloudWatchPublisher:
    """Publishes figures of one environment; with ``metrics_namespace`` "" it does nothing.

    Raises Refused for a namespace that CloudWatch would not take. Whatever else goes wrong is logged once, until it
    goes well again, and never raised.
    """

    def __init__(
        self,
        *,
        metrics_namespace: str = "",
        migration_environment: str = "",
        aws_region: str = "",
        aws_endpoint_url: str = "",
    ) -> None:
        self._namespace = checked(metrics_namespace)
        self._environment = migration_environment
        self._aws_region, self._aws_endpoint_url = aws_region, aws_endpoint_url
        self._client: Any = None
        self._waiting: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble = ""
        """Why nothing can be published now; "" if it can."""

    def __enter__(self) -> CloudWatchPublisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def lines(self) -> tuple[str, ...]:
        """What to tell an operator: nothing, unless nothing can be published."""
        return (f"metrics are not published: {self.trouble}",) if self.trouble else ()

    def put(self, figures: Mapping[str, float | None], direction: str = "") -> None:
        """Hands figures over, by the names of the catalogue, as of now, and returns at once; None is left out.

        ``direction`` is that of the metrics that have one. Raises KeyError for a name that the catalogue lacks.
        """
        data = [
            self._datum(name, float(value), direction)
            for name, value in figures.items()
            if value is not None and math.isfinite(value)
        ]
        if not self._namespace or not data:
            return
        with self._lock:
            self._waiting = [*self._waiting, *data][-MOST_DATA:]
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
            self._thread.start()
        self._wake.set()

    def close(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Lets what waits be sent, and leaves it after so many seconds."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _datum(self, name: str, value: float, direction: str) -> dict[str, Any]:
        metric = catalogue()[name]
        dimensions = {"Environment": self._environment, **({"Direction": direction} if metric["directed"] else {})}
        return {
            "MetricName": name,
            "Dimensions": [{"Name": one, "Value": of} for one, of in dimensions.items()],
            "Timestamp": datetime.now(UTC),
            "Value": value,
            "Unit": metric["unit"],
        }

    def _run(self) -> None:
        ending = False
        while not ending:
            self._wake.wait()
            self._wake.clear()
            ending = self._ending.is_set()
            self._send()

    def _send(self) -> None:
        with self._lock:
            data, self._waiting = self._waiting, []
        if not data:
            return
        try:
            self._client = self._client or aws.client(
                "cloudwatch",
                aws_region=self._aws_region,
                aws_endpoint_url=self._aws_endpoint_url,
                attempts=1,
                connect_timeout_seconds=CONNECT_SECONDS,
                read_timeout_seconds=READ_SECONDS,
            )
            with aws.translated_errors("publish metrics", writes=True):
                self._client.put_metric_data(Namespace=self._namespace, MetricData=data)
        except Exception as error:  # whatever it is, it is no reason to end what is measured
            # Credentials that are renewed meanwhile are seen by a new client alone.
            self._client = None
            with self._lock:
                self._waiting = [*data, *self._waiting][-MOST_DATA:]
            self._say(_told(error))
        else:
            self._say("")

    def _say(self, trouble: str) -> None:
        if trouble and not self.trouble:
            _log.warning("metrics are not published in CloudWatch, and nothing waits for them: %s", trouble)
        if self.trouble and not trouble:
            _log.info("metrics are published in CloudWatch again")
        self.trouble = trouble


def checked(metrics_namespace: str) -> str:
    """The namespace, "" for none. Raises Refused for one that CloudWatch would not take."""
    if metrics_namespace and not (
        len(metrics_namespace) <= LONGEST_NAMESPACE and _NAMESPACE.fullmatch(metrics_namespace)
    ):
        raise Refused(
            "this is no namespace for metrics of our own",
            measured=f"metrics_namespace={metrics_namespace}",
            allowed=f"{LONGEST_NAMESPACE} letters, digits and . _ / # : - at most, and not AWS/ first; empty for none",
            next_step="correct metrics_namespace in the inventory",
        )
    return metrics_namespace


def _told(error: Exception) -> str:
    if isinstance(error, MigrationError):
        return f"{error.what}: {error.measured}" if error.measured else error.what
    return type(error).__name__
