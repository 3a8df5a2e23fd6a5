"""Client of the Task Service's API: writes tasks, one request for each.

``POST /api/tasks`` with the task's id is an upsert of everything that belongs to the task, and ``DELETE
/api/tasks/<id>`` deletes it. PUT is not used: the client would need to know whether the task exists, and the result
would be the same as with POST. Both can be repeated at any time, so a request without an acknowledgement is sent again.

An acknowledgement is an answer of the API about this task. A status alone does not count: proxies, login pages and
servers that are starting answer 200 as well. An answer about one task (422) makes that task a dead letter; an answer
about the API (500, timeouts, an unreadable body, a refused token) stops the batch, because no task is the cause.

A risk that no client can exclude: after a timeout, the API may still be processing the request, and may finish it after
a later one for the same task. The consistency check finds this; the sink ``database`` does not have this risk.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from uuid import UUID

import httpx

from task_migration.errors import Refused
from task_migration.external.retry import Backoff, retried
from task_migration.external.web_address import checked_api, trust

BACKOFF = Backoff(0.2, 5.0, jitter=1.0)
LONGEST_RETRY_AFTER_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 2.0
"""Shorter than Node's 5 s, so that no request is sent on a connection that the server is closing."""
LARGEST_ANSWER_BYTES = 1_000_000

_PATH = "/api/tasks"
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_WRONG_TOKEN = (401, 403)
_LATER = (408, 425, 429)
_GONE = (404, 410)
_NO_ROUTE = (404, 405, 410)
"""A proxy, or a server without this route, answers these too; they are the API's answer only if the body is JSON."""


@dataclass(frozen=True)
class ApiResult:
    """The result of a batch; each key is in exactly one of the first three.

    ``done``     acknowledged;
    ``refused``  dead letters, tasks that the API refused; key -> reason ("HTTP 422");
    ``undone``   not acknowledged after retries, or not sent because others failed: to be sent again later;
    ``problem``  why some are undone, in one line; "" if none is;
    ``failed``   the undone keys whose own request used up its attempts: the API fails, or this task makes it fail.
    """

    done: tuple[int, ...]
    refused: Mapping[int, str]
    undone: tuple[int, ...]
    problem: str
    failed: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Answer:
    """The result of one request. ``summary`` is a status or a kind of failure, never the content of a body."""

    meaning: Literal["done", "refused", "wrong token", "again", "failed"]
    summary: str = ""
    wait_seconds: float = 0.0


@dataclass
class _ApiState:
    """What the requests of one batch share: whether the API fails, and the first problem."""

    stopped: threading.Event = field(default_factory=threading.Event)
    problem: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self, problem: str) -> None:
        with self._lock:
            self.problem = self.problem or problem
        self.stopped.set()


class ApiClient:
    """The Task Service's API at ``base_url``, which may have a path (a stage of API Gateway).

    ``token_file`` contains the service token and must be readable for its owner only; it is read again when the API
    does not accept the token. ``ca_file`` names the CA of a private certificate. ``timeout_seconds`` bounds connecting,
    each wait for bytes, and an answer's body as a whole. ``attempts`` is how often a request is sent before it counts
    as undone. ``sleep`` takes seconds. Proxies and ``.netrc`` of the environment are not used: they would see, or
    replace, the token. Raises Refused if the address, the token's file or the CA's file is not valid.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token_file: str,
        ca_file: str = "",
        timeout_seconds: float = 5.0,
        attempts: int = 4,
        max_parallel: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = checked_api(base_url) + _PATH
        self._token_file = token_file
        self._token = _read_token(token_file)
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._sleep = sleep
        self._client = httpx.Client(
            verify=trust(ca_file) if ca_file else True,
            timeout=timeout_seconds,
            follow_redirects=False,  # a redirected POST may become a GET, and the token would go elsewhere
            trust_env=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            limits=httpx.Limits(
                max_connections=max_parallel,
                max_keepalive_connections=max_parallel,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
            ),
        )
        self._pool = ThreadPoolExecutor(max_parallel, thread_name_prefix="api_sink")

    def send(self, tasks: Mapping[int, dict[str, Any] | None]) -> ApiResult:
        """Sends each task as a whole; None deletes the task. When this returns, no request is running.

        A task is ``{id, user_id, title, ..., tags, group, approval, images}``, with text, numbers, aware datetimes and
        UUIDs. The first request that fails stops the batch.
        """
        batch = _ApiState()
        sent = [(key, self._pool.submit(self._settle, key, task, batch)) for key, task in tasks.items()]
        try:
            answers = {key: future.result() for key, future in sent}
        finally:
            batch.stopped.set()
            wait([future for _, future in sent])
        return ApiResult(
            done=tuple(key for key, answer in answers.items() if answer.meaning == "done"),
            refused={key: answer.summary for key, answer in answers.items() if answer.meaning == "refused"},
            undone=tuple(key for key, answer in answers.items() if answer.meaning not in ("done", "refused")),
            problem=batch.problem,
            failed=tuple(key for key, answer in answers.items() if answer.meaning == "failed"),
        )

    def close(self) -> None:
        """Stops the threads and closes the connections."""
        self._pool.shutdown()
        self._client.close()

    def _settle(self, key: int, task: dict[str, Any] | None, batch: _ApiState) -> _Answer:
        """Sends one request until its answer is final, its attempts are used up, or the batch is stopped."""
        request = f"POST {_PATH}" if task is not None else f"DELETE {_PATH}/{key}"
        answer = _Answer("again")
        tries, renewed = 0, False

        def ask() -> _Answer:
            nonlocal answer, tries, renewed
            while not batch.stopped.is_set():
                answer = self._ask(key, task)
                if answer.meaning != "wrong token":
                    tries += 1
                    break
                problem = self._renew() if not renewed else f"{self._token_file} was read again"
                if problem:
                    batch.stop(f"the service token is not accepted: {request} {answer.summary} (task {key}); {problem}")
                renewed = True
            return answer

        retried(
            ask,
            backoff=BACKOFF,
            until=lambda given: given.meaning != "again" or batch.stopped.is_set(),
            attempts=self._attempts,
            sleep=lambda seconds: self._sleep(max(seconds, answer.wait_seconds)),
        )
        if answer.meaning == "again" and tries >= self._attempts:
            often = "1 try" if tries == 1 else f"{tries} tries"
            batch.stop(f"{request} {answer.summary} in {often} (task {key})")
            return _Answer("failed", answer.summary)
        return answer

    def _renew(self) -> str:
        """Reads the token's file again. Returns why it cannot be read, or ""."""
        try:
            self._token = _read_token(self._token_file)
        except Refused as refused:
            return f"{refused.what}, measured: {refused.measured}"
        return ""

    def _ask(self, key: int, task: dict[str, Any] | None) -> _Answer:
        """Sends one request and interprets its answer."""
        headers = {"Authorization": f"Bearer {self._token}"}
        body = None
        if task is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(task, default=_plain, ensure_ascii=False, allow_nan=False).encode()
        method, url = ("POST", self._url) if task is not None else ("DELETE", f"{self._url}/{key}")
        try:
            with self._client.stream(method, url, headers=headers, content=body) as response:
                return self._meaning(key, task is not None, response)
        except httpx.TimeoutException:
            return _Answer("again", f"was not answered within {self._timeout_seconds:g} s")
        except httpx.ConnectError as error:
            return _Answer("again", f"could not be sent ({error})")
        except httpx.RequestError:
            # Its text may quote what the server sent.
            return _Answer("again", "was answered by a broken connection")

    def _meaning(self, key: int, upsert: bool, response: httpx.Response) -> _Answer:
        """Interprets an answer. Reads the body only if it matters; if not, the next attempt uses a new connection."""
        status = response.status_code
        summary = f"answered {status}"
        if status in _WRONG_TOKEN:
            return _Answer("wrong token", summary)
        if status in _LATER or status >= 500:
            return _Answer("again", summary, _retry_after(response))
        if 400 <= status < 500 and status not in _NO_ROUTE:
            return _Answer("refused", f"HTTP {status}")
        if status == 204 and not upsert:
            return _Answer("done")
        document = self._document(response)
        if status in _NO_ROUTE:
            if document is None:
                return _Answer("again", f"{summary} without JSON: does the API have this route?")
            return _Answer("done") if status in _GONE and not upsert else _Answer("refused", f"HTTP {status}")
        if status in (200, 201) and document is not None and document.get("success") is True:
            data = document.get("data")
            # node-pg, and so the API, returns a BIGINT as text.
            if not upsert or (isinstance(data, dict) and str(data.get("id")) == str(key)):
                return _Answer("done")
        return _Answer("again", f"{summary} without an acknowledgement")

    def _document(self, response: httpx.Response) -> dict[str, Any] | None:
        """Returns the answer's JSON object; None if it is anything else, too large, or takes too long."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            return None
        until = time.monotonic() + self._timeout_seconds
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > LARGEST_ANSWER_BYTES or time.monotonic() > until:
                return None
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


def _read_token(file: str) -> str:
    """Returns the token in the file. Raises Refused if others can read the file, or if it contains no token."""
    try:
        with open(file, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode & 0o777
            token = opened.read(LARGEST_ANSWER_BYTES).strip()
    except OSError as error:
        raise Refused(
            f"cannot read the service token from {file}",
            measured=error.strerror or type(error).__name__,
            next_step=f"write the token there, then chmod 600 {file}",
        ) from error
    if mode & 0o077:
        raise Refused(
            f"other users can read the service token in {file}",
            measured=f"mode {mode:04o}",
            allowed="mode 0600",
            next_step=f"chmod 600 {file}",
        )
    if not _TOKEN.fullmatch(token):
        raise Refused(
            f"{file} does not contain a service token",
            measured=f"{len(token)} bytes, empty or with characters that a bearer token cannot have",
            allowed="one token and nothing else",
            next_step=f"write the token to {file}",
        )
    return token.decode()


def _retry_after(response: httpx.Response) -> float:
    """Returns the seconds that the API asks to wait, given as a number or as a date; 0 without Retry-After."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text) if text.isdecimal() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _plain(value: object) -> str:
    """Converts what JSON has no form for. A time without a zone would be ambiguous: it is a fault of this program."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"a task contains a {type(value).__name__}, which JSON has no form for")
