"""Probes the Task Service's API: GET /health at a steady pace, each on its own connection, counted over a window."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from task_migration.external.web_address import checked_api, trust

TIMEOUT_SECONDS = 2.0
"""Above every reasonable latency bound: a request that takes longer has failed."""
PROBES = 20
"""Requests in each window. One failed request is 5 %, which alone breaches nothing."""


@dataclass(frozen=True)
class ApiProbeResult:
    """The requests of one window. ``p95_ms`` is that of the answered ones, None without any; ``error`` is the last one,
    in a word or two."""

    requests: int
    errors: int
    p95_ms: float | None
    error: str = ""

    @property
    def answered(self) -> int:
        return self.requests - self.errors


@dataclass(frozen=True)
class _Request:
    at: float
    milliseconds: float
    error: str


class ApiProbe:
    """Probes one API. ``window_seconds`` is how long a request counts; ``requests`` and ``errors`` count all of them.

    Raises Refused if the address or the CA file is not valid.
    """

    def __init__(self, task_service_url: str, ca_file: str, window_seconds: float) -> None:
        self._url = checked_api(task_service_url) + "/health"
        self._verify = trust(ca_file) if ca_file else True
        self._window_seconds = window_seconds
        self._lock = threading.Lock()
        self._recent: deque[_Request] = deque()
        self.requests = self.errors = 0

    def result(self) -> ApiProbeResult:
        """Returns the requests of the window that ends now."""
        with self._lock:
            self._remove_old()
            recent = list(self._recent)
        failed = [one for one in recent if one.error]
        answered = sorted(one.milliseconds for one in recent if not one.error)
        p95 = answered[math.ceil(0.95 * len(answered)) - 1] if answered else None
        return ApiProbeResult(len(recent), len(failed), p95, failed[-1].error if failed else "")

    def burst(self, pause_seconds: float = 0.02) -> ApiProbeResult:
        """Sends as many requests as a window holds, one after the other, and returns their result."""
        with self._client() as client:
            for _ in range(PROBES):
                self._send(client)
                time.sleep(pause_seconds)
        return self.result()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sends requests while the block runs, evenly over each window."""
        stop = threading.Event()

        def run() -> None:
            with self._client() as client:
                while not stop.is_set():
                    started = time.monotonic()
                    self._send(client)
                    stop.wait(max(0.0, started + self._window_seconds / PROBES - time.monotonic()))

        thread = threading.Thread(target=run, name="probe", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(2 * TIMEOUT_SECONDS)

    def _client(self) -> httpx.Client:
        # No keep-alive: a connection that the server has just closed would count as an error.
        return httpx.Client(
            verify=self._verify,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def _send(self, client: httpx.Client) -> None:
        started = time.monotonic()
        error = ""
        try:
            with client.stream("GET", self._url) as answer:
                # An HTML page comes from a proxy, or from a server without its application.
                if not answer.is_success:
                    error = f"HTTP {answer.status_code}"
                elif answer.headers.get("Content-Type", "").startswith("text/html"):
                    error = "an HTML page"
        except httpx.HTTPError as failure:
            error = type(failure).__name__
        now = time.monotonic()
        with self._lock:
            self.requests += 1
            self.errors += bool(error)
            self._recent.append(_Request(now, (now - started) * 1000, error))
            self._remove_old()

    def _remove_old(self) -> None:
        oldest = time.monotonic() - self._window_seconds
        while self._recent and self._recent[0].at < oldest:
            self._recent.popleft()
