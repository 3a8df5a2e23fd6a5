"""Publishes metrics to CloudWatch (PutMetricData) in a background thread, so that measuring never waits for AWS.

The metrics are a copy for alarms and dashboards; no gate reads them. Values that cannot be sent are kept for the next
request, one request's worth at most, and are dropped after that. Missing data then raises an alarm.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any

from task_migration import yaml_files
from task_migration.errors import MigrationError, Refused
from task_migration.external.aws import Aws, translated_errors

MOST_DATA = 1000
"""What one PutMetricData accepts (API reference); no more is kept while CloudWatch is unreachable."""
CONNECT_SECONDS, READ_SECONDS = 2.0, 3.0
PATIENCE_SECONDS = 1.0
"""How long ``close`` waits for values that are being sent: a rollback may be waiting."""
LONGEST_NAMESPACE = 255
_NAMESPACE = re.compile(r"(?!AWS/)[0-9A-Za-z._/#:-]+")
_NOWHERE = Aws("")

_log = logging.getLogger(__name__)


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """Returns every metric by its name: ``unit``, ``by``, ``directed``, ``about``."""
    found: dict[str, dict[str, Any]] = yaml_files.read("external/metric_data.yml")
    return found


class CloudWatchPublisher:
    """Publishes metrics of one environment. With an empty ``metrics_namespace`` it does nothing.

    Raises Refused for a namespace that CloudWatch does not accept. Every other error is logged once until publishing
    works again, and is never raised.
    """

    def __init__(self, *, metrics_namespace: str = "", migration_environment: str = "", aws: Aws = _NOWHERE) -> None:
        self._namespace = checked(metrics_namespace)
        self._environment = migration_environment
        self._aws = aws
        self._client: Any = None
        self._waiting: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble = ""
        """Why publishing does not work now; "" if it works."""

    def __enter__(self) -> CloudWatchPublisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def lines(self) -> tuple[str, ...]:
        """Returns the lines for the operator: none while publishing works."""
        return (f"metrics are not published: {self.trouble}",) if self.trouble else ()

    def put(self, figures: Mapping[str, float | None], direction: str = "") -> None:
        """Queues values by metric name, with the current time, and returns at once; None is left out.

        ``direction`` is the dimension of the directed metrics. Raises KeyError for a name that is not in the catalogue.
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
        """Sends the queued values, and waits for that for ``seconds`` at most."""
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
            self._client = self._client or self._aws.client(
                "cloudwatch",
                attempts=1,
                connect_timeout_seconds=CONNECT_SECONDS,
                read_timeout_seconds=READ_SECONDS,
            )
            with translated_errors("publish metrics", writes=True):
                self._client.put_metric_data(Namespace=self._namespace, MetricData=data)
        except Exception as error:  # no error may stop the process that measures
            # Only a new client uses renewed credentials.
            self._client = None
            with self._lock:
                self._waiting = [*data, *self._waiting][-MOST_DATA:]
            self._log_change(_reason(error))
        else:
            self._log_change("")

    def _log_change(self, trouble: str) -> None:
        if trouble and not self.trouble:
            _log.warning("metrics are not published to CloudWatch; everything else continues: %s", trouble)
        if self.trouble and not trouble:
            _log.info("metrics are published to CloudWatch again")
        self.trouble = trouble


def checked(metrics_namespace: str) -> str:
    """Returns the namespace, "" for none. Raises Refused for one that CloudWatch does not accept."""
    if metrics_namespace and not (
        len(metrics_namespace) <= LONGEST_NAMESPACE and _NAMESPACE.fullmatch(metrics_namespace)
    ):
        raise Refused(
            "metrics_namespace is not a valid CloudWatch namespace",
            measured=f"metrics_namespace={metrics_namespace}",
            allowed=f"at most {LONGEST_NAMESPACE} letters, digits and . _ / # : - and not AWS/ at its start; or empty",
            next_step="correct metrics_namespace in the inventory",
        )
    return metrics_namespace


def _reason(error: Exception) -> str:
    if isinstance(error, MigrationError):
        return f"{error.what}: {error.measured}" if error.measured else error.what
    return type(error).__name__
