"""Is the Task Service's API well? GET /health again and again, each on its own connection, counted over a window."""

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
"""Above every bound of latency that makes sense: who takes longer has failed."""
PROBES = 20
"""For each window: one failed request is 5 %, and no reason for anything."""


@dataclass(frozen=True)
class ApiProbeResult:
    """What the window holds. ``p95_ms`` is of the requests that were answered, None if none was; ``error`` is the last
    one, in a word or two."""

    requests: int
    errors: int
    p95_ms: float | None
    error: str = ""

    @property
    def answered(self) -> int:
        return self.requests - self.errors


@dataclass(frozen=True)
class _One:
    at: float
    milliseconds: float
    error: str


class ApiProbe:
    """One API. ``window_seconds`` is how long a request counts; ``requests`` and ``errors`` count all there ever were.

    Raises Refused if the address or the CA's file won't do.
    """

    def __init__(self, task_service_url: str, ca_file: str, window_seconds: float) -> None:
        self._url = checked_api(task_service_url) + "/health"
        self._verify = trust(ca_file) if ca_file else True
        self._window_seconds = window_seconds
        self._lock = threading.Lock()
        self._seen: deque[_One] = deque()
        self.requests = self.errors = 0

    def seen(self) -> ApiProbeResult:
        """The requests of the window that ends now."""
        with self._lock:
            self._forget()
            seen = list(self._seen)
        failed = [one for one in seen if one.error]
        answered = sorted(one.milliseconds for one in seen if not one.error)
        p95 = answered[math.ceil(0.95 * len(answered)) - 1] if answered else None
        return ApiProbeResult(len(seen), len(failed), p95, failed[-1].error if failed else "")

    def burst(self, pause_seconds: float = 0.02) -> ApiProbeResult:
        """As many requests as a window holds, one after the other; what they came to."""
        with self._client() as client:
            for _ in range(PROBES):
                self._ask(client)
                time.sleep(pause_seconds)
        return self.seen()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Asks all the time while the block runs, evenly over each window."""
        stop = threading.Event()

        def ask() -> None:
            with self._client() as client:
                while not stop.is_set():
                    began = time.monotonic()
                    self._ask(client)
                    stop.wait(max(0.0, began + self._window_seconds / PROBES - time.monotonic()))

        thread = threading.Thread(target=ask, name="probe", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(2 * TIMEOUT_SECONDS)

    def _client(self) -> httpx.Client:
        # No connection is kept: one that the server has just closed would be taken for an error.
        return httpx.Client(
            verify=self._verify,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def _ask(self, client: httpx.Client) -> None:
        began = time.monotonic()
        error = ""
        try:
            with client.stream("GET", self._url) as answer:
                # A page of HTML is a proxy's, or a server's that has lost its application.
                if not answer.is_success:
                    error = f"HTTP {answer.status_code}"
                elif answer.headers.get("Content-Type", "").startswith("text/html"):
                    error = "a page of HTML"
        except httpx.HTTPError as failure:
            error = type(failure).__name__
        now = time.monotonic()
        with self._lock:
            self.requests += 1
            self.errors += bool(error)
            self._seen.append(_One(now, (now - began) * 1000, error))
            self._forget()

    def _forget(self) -> None:
        oldest = time.monotonic() - self._window_seconds
        while self._seen and self._seen[0].at < oldest:
            self._seen.popleft()
