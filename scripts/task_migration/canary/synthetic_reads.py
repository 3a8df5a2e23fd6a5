"""Sends synthetic reads through the gateway where users send too few requests.

The gateway chooses a side for each, as for a user's request, so they count in every metric that the canary gate reads.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from task_migration.errors import Refused
from task_migration.external import web_address

TIMEOUT_SECONDS = 30.0
"""API Gateway's own timeout is 29 s."""
MOST_AT_ONCE = 64
"""Open requests at most, while the gateway does not answer."""
KEEP_ALIVE_SECONDS = 2.0
LARGEST_FILE_BYTES = 100_000

_HEADER = re.compile(
    r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)[ \t]*"
)


@dataclass(frozen=True)
class ReadsSent:
    """How many reads were answered or timed out so far, how many of them failed, and the last error."""

    requests: int
    failed: int
    error: str = ""

    def __str__(self) -> str:
        return f"{self.failed:,} of {self.requests:,} probes failed" + (f", {self.error}" if self.error else "")


class SyntheticReads:
    """Sends ``per_second`` reads of one path. Raises Refused if the address or the file of headers is not valid.

    Messages never show names or values of the headers.
    """

    def __init__(self, *, gateway_url: str, path: str, headers_file: str, per_second: float) -> None:
        self.url = _checked(gateway_url, path)
        self._headers = _headers(headers_file) if headers_file else []
        self._per_second = per_second
        self._lock = threading.Lock()
        self._requests = self._failed = 0
        self._error = ""

    def sent(self) -> ReadsSent:
        """Returns what was sent so far."""
        with self._lock:
            return ReadsSent(self._requests, self._failed, self._error)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sends reads evenly while the block runs; those without an answer at its end are cancelled, and not
        counted."""
        stop = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._send(stop)), name="synthetic reads", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    async def _send(self, stop: threading.Event) -> None:
        client = httpx.AsyncClient(
            headers=self._headers,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            follow_redirects=False,
            # A load balancer's cookie would send all reads to one of its targets.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            limits=httpx.Limits(max_connections=MOST_AT_ONCE, keepalive_expiry=KEEP_ALIVE_SECONDS),
        )
        unanswered: set[asyncio.Task[None]] = set()
        pause, due = 1 / self._per_second, time.monotonic()
        async with client:
            while not stop.is_set():
                late = time.monotonic() - due
                if late < 0:
                    await asyncio.sleep(min(-late, 0.1))
                    continue
                # Reads that could not be sent in time are left out, to avoid a burst.
                due = max(due, time.monotonic() - 1) + pause
                if len(unanswered) < MOST_AT_ONCE:
                    task = asyncio.create_task(self._read(client))
                    unanswered.add(task)
                    task.add_done_callback(unanswered.discard)
                await asyncio.sleep(0)
            for task in unanswered:
                task.cancel()
            await asyncio.gather(*unanswered, return_exceptions=True)

    async def _read(self, client: httpx.AsyncClient) -> None:
        error = ""
        try:
            answer = await client.get(self.url)
            if not answer.is_success:
                error = f"HTTP {answer.status_code}"
        except httpx.HTTPError as failure:
            error = type(failure).__name__
        with self._lock:
            self._requests += 1
            self._failed += bool(error)
            self._error = error or self._error


def _checked(gateway_url: str, path: str) -> str:
    """Returns the address of one read."""
    address = web_address.checked(gateway_url, title="the gateway", exposes="a probe's headers", key="gateway_url")
    if not path.startswith("/"):
        raise Refused(
            "the path of the probes is not valid",
            measured=path or "gateway_probe_path is empty",
            allowed="a path that begins with /",
            next_step="correct gateway_probe_path in the inventory",
        )
    return address + path


def _headers(file: str) -> list[tuple[str, str]]:
    """Returns the headers in the file. Raises Refused if other users may read it, or a line is not a header."""
    try:
        with open(file, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode & 0o777
            text = opened.read(LARGEST_FILE_BYTES).decode("ascii", errors="replace")
    except OSError as error:
        raise Refused(
            f"cannot read the headers of the probes from {file}",
            measured=error.strerror or type(error).__name__,
            next_step=f'write them there, one per line, then chmod 600 {file}; or set gateway_probe_headers_file to ""',
        ) from error
    if mode & 0o077:
        raise Refused(
            f"other users may read the headers of the probes in {file}",
            measured=f"mode {mode:04o}",
            allowed="mode 0600",
            next_step=f"chmod 600 {file}",
        )
    found = [(number, _HEADER.fullmatch(line)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    wrong = [number for number, header in found if header is None]
    if wrong or not found:
        raise Refused(
            f"{file} does not contain valid headers for the probes",
            measured=f"line {wrong[0]} is not a header" if wrong else "the file is empty",
            allowed="Name: value, one per line",
            next_step=f"correct {file}",
        )
    return [(header["name"], header["value"]) for _, header in found if header]
