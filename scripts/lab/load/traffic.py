"""Live traffic on both applications that records every request, and the check that no acknowledged write was lost.

    python -m lab.load.traffic --endpoints FILE --gateway-requests 200 --seconds 30 --ledger FILE
    python -m lab.load.traffic --endpoints FILE --laravel-writes 50 --task-service-writes 5 --seconds 30 --ledger FILE
    python -m lab.load.traffic check --endpoints FILE --ledger FILE

Users with a Cognito sub create, change, complete, approve, delete and restore tasks, and write their tags, images and
groups. The traffic only uses tasks that it created. Requests go through the gateway, which chooses a side for each, or
directly to both sides at once. For each task, at most one request is in progress at each of these endpoints, so the
order of an endpoint's writes is known. SIGTERM stops the traffic after the requests in progress.

Through the gateway the traffic sends no request that a side could refuse because it is a little behind the other. It
does not use what was just created or deleted for SYNC_SECONDS, nor what may be deleted, and it restores nothing,
because the Task Service has no restore. Therefore every answer that is not a success counts as a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import secrets
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
import psycopg
import uvloop

from lab.load.accounting import account, table
from lab.load.ledger import AnsweringSide, Ledger, LedgerRequest, RequestOutcome
from lab.sql_files import statement

Endpoint = Literal["laravel", "task_service", "gateway"]
"""Where a request is sent: directly to a side, or to the gateway, which chooses one."""
ANSWER_SECONDS = 5.0
IDLE_SECONDS = 2.0
"""Less than any server keeps an idle connection open, so no connection is closed while a request is sent on it."""
SYNC_SECONDS = 5.0
"""How long a task that was created, deleted or restored is not used where it may be unknown yet. Within this time a
killed sync is running again and has caught up, even on a busy machine."""
SERVED_BY = "X-Served-By"
USERS = 200
TAGS = tuple(f"traffic {name}" for name in ("red", "green", "blue", "赤", "緑", "青"))
MIX = {
    "create": 18,
    "update": 34,
    "complete": 11,
    "uncomplete": 4,
    "approve": 5,
    "delete": 5,
    "restore": 3,
    "tags": 9,
    "add image": 4,
    "remove image": 2,
    "group": 5,
}


@dataclass
class KnownTask:
    """A task of the traffic, in its last known state. A side may be ahead of it.

    ``lifecycle_by`` and ``lifecycle_at`` are where and when it was last created, deleted or restored. ``images`` are
    its images' ids, each with the time when it was added.
    """

    key: int
    marker: str
    user: str
    lifecycle_by: Endpoint
    lifecycle_at: float
    status: str = "pending"
    deleted: bool = False
    images: dict[int, float] = field(default_factory=dict)
    busy: set[Endpoint] = field(default_factory=set)

    def settled_images(self) -> list[int]:
        """Returns the images that both sides know."""
        return [image for image, added_at in self.images.items() if added_at < time.time() - SYNC_SECONDS]


@dataclass(frozen=True)
class TrafficRequest:
    """One request: what is sent, and which fields it sets."""

    method: str
    path: str
    body: dict[str, Any] | None
    fields: dict[str, Any]
    user: str


@dataclass(frozen=True)
class TrafficAnswer:
    """The result of a request; ``data`` is {} if the answer has none."""

    side: AnsweringSide | Literal[""]
    outcome: RequestOutcome
    status: int = 0
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.outcome in ("acknowledged", "unchanged")


class LiveTraffic:
    """One run of the traffic: writes and reads per second, for ``seconds``.

    Reads go to the same endpoints as the writes. ``urls`` are the endpoints' addresses, ``users`` the Cognito subs.
    """

    def __init__(
        self,
        *,
        urls: Mapping[Endpoint, str],
        users: list[str],
        ledger: Ledger,
        writes: Mapping[Endpoint, float],
        reads: float = 0.0,
        seconds: float = math.inf,
    ) -> None:
        self._urls = urls
        self._users = users
        self._ledger = ledger
        self._writes = writes
        self._reads = reads
        self._seconds = seconds
        self._run = secrets.token_hex(3)
        self._number = 0
        self._tasks: list[KnownTask] = []
        self._stopping = asyncio.Event()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._latencies: dict[str, list[float]] = {}

    def stop(self) -> None:
        """Lets ``run`` end after the requests in progress."""
        self._stopping.set()

    async def run(self) -> dict[str, Any]:
        """Runs until the time is over or ``stop`` is called. Returns the counts, and the latencies in milliseconds."""
        began = time.monotonic()
        limits = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(connector=limits, timeout=timeout, trust_env=False) as self._http:
            written: list[Endpoint] = [endpoint for endpoint, rate in self._writes.items() if rate] or ["laravel"]
            streams = [self._stream(self._writes[endpoint], self._writer(endpoint)) for endpoint in self._writes]
            streams += [self._stream(self._reads / len(written), self._reader(endpoint)) for endpoint in written]
            timer = asyncio.create_task(self._end_of_time())
            await asyncio.gather(*streams)
            timer.cancel()
        return self._summary(time.monotonic() - began)

    async def _end_of_time(self) -> None:
        if math.isfinite(self._seconds):
            await asyncio.sleep(self._seconds)
            self.stop()

    async def _stream(self, rate: float, act: Callable[[], Awaitable[None]]) -> None:
        """Calls ``act`` at this rate, several at once if needed. Skips calls that are late by more than a second."""
        if not rate:
            return
        clock = asyncio.get_running_loop().time
        next_due = clock()

        async def one_after_another() -> None:
            nonlocal next_due
            while not self._stopping.is_set():
                due = next_due = max(next_due + 1 / rate, clock() - 1)
                if (early := due - clock()) > 0:
                    await asyncio.sleep(early)
                if not self._stopping.is_set():
                    await act()

        await asyncio.gather(*(one_after_another() for _ in range(min(64, max(1, math.ceil(rate / 4))))))

    def _writer(self, endpoint: Endpoint) -> Callable[[], Awaitable[None]]:
        async def write() -> None:
            (verb,) = random.choices(list(MIX), list(MIX.values()))
            task = self._pick_task(endpoint, verb) or self._pick_task(endpoint, verb := "update")
            if task is None or verb == "create":
                await self._create(endpoint)
                return
            task.busy.add(endpoint)
            try:
                await self._change(endpoint, verb, task)
            finally:
                task.busy.discard(endpoint)

        return write

    def _reader(self, endpoint: Endpoint) -> Callable[[], Awaitable[None]]:
        async def read() -> None:
            task = self._pick_task(endpoint, "update")
            if task is None or random.random() < 0.2:
                await self._send_and_record(
                    endpoint,
                    "read",
                    None,
                    self._run,
                    TrafficRequest("GET", "/api/tasks", None, {}, random.choice(self._users)),
                )
                return
            task.busy.add(endpoint)
            try:
                request = TrafficRequest("GET", f"/api/tasks/{task.key}", None, {}, task.user)
                await self._send_and_record(endpoint, "read", task.key, task.marker, request)
            finally:
                task.busy.discard(endpoint)

        return read

    def _pick_task(self, endpoint: Endpoint, verb: str) -> KnownTask | None:
        """Returns a task that fits the verb; None if a few random tries find none."""
        settled = time.time() - SYNC_SECONDS
        for task in random.choices(self._tasks, k=6) if self._tasks else ():
            near = endpoint == task.lifecycle_by != "gateway" or task.lifecycle_at < settled
            if near and endpoint not in task.busy and _fits(task, endpoint, verb):
                return task
        return None

    async def _create(self, endpoint: Endpoint) -> None:
        self._number += 1
        marker, user = f"{self._run}-{self._number}", random.choice(self._users)
        body = {"title": f"{marker} made", "description": f"by {marker} 🎉", "difficulty": random.randint(1, 5)}
        if random.random() < 0.2:
            body["tags"] = random.sample(TAGS, 2)
        sets = {"user_id": user, "tags": [], "status": "pending", "group": None, "deleted": False, **body}
        answer = await self._send_and_record(
            endpoint, "create", None, marker, TrafficRequest("POST", "/api/tasks", body, sets, user)
        )
        if answer.done:
            self._tasks.append(KnownTask(answer.data["id"], marker, user, endpoint, time.time()))

    async def _change(self, endpoint: Endpoint, verb: str, task: KnownTask) -> None:
        request = self._request_for(verb, task)
        answer = await self._send_and_record(endpoint, verb, task.key, task.marker, request)
        # A task or image that may be deleted is not used again.
        maybe = answer.outcome == "unknown"
        if verb == "delete" and (answer.done or maybe):
            task.deleted, task.lifecycle_by, task.lifecycle_at = True, endpoint, time.time()
        elif verb == "remove image" and (answer.done or maybe):
            del task.images[int(request.path.rpartition("/")[2])]
        elif not answer.done:
            return
        elif verb == "restore":
            task.deleted, task.lifecycle_by, task.lifecycle_at = False, endpoint, time.time()
        elif verb == "add image":
            task.images[answer.data["id"]] = time.time()
        else:
            task.status = answer.data["status"]

    def _request_for(self, verb: str, task: KnownTask) -> TrafficRequest:
        self._number += 1
        path, own = f"/api/tasks/{task.key}", f"{task.marker} write {self._number}"
        body: dict[str, Any]
        match verb:
            case "update":
                body = {"title": own}
                if random.random() < 0.5:
                    body["description"] = None if random.random() < 0.1 else f"{own}\n段落"
                if random.random() < 0.3:
                    body["difficulty"] = random.randint(1, 5)
                return TrafficRequest("PUT", path, body, body, task.user)
            case "delete":
                return TrafficRequest("DELETE", path, None, {"deleted": True}, task.user)
            case "tags":
                body = {"tags": sorted(random.sample(TAGS, random.randint(0, 3)))}
                return TrafficRequest("PUT", f"{path}/tags", body, body, task.user)
            case "add image":
                return TrafficRequest("POST", f"{path}/images", {"s3_key": f"task_images/{own}.png"}, {}, task.user)
            case "remove image":
                image = random.choice(task.settled_images())
                return TrafficRequest("DELETE", f"{path}/images/{image}", None, {f"image {image}": None}, task.user)
            case "group":
                flags = {"requires_approval": random.random() < 0.3, "requires_image": random.random() < 0.3}
                body = {"group_id": str(uuid.uuid4()), "reward": 10 * random.randint(0, 50), **flags}
                return TrafficRequest("PUT", f"{path}/group", body, {"group": body}, task.user)
            case "restore":
                return TrafficRequest("POST", f"{path}/restore", None, {"deleted": False}, task.user)
        sets = {"status": {"complete": "completed", "uncomplete": "pending", "approve": "approved"}[verb]}
        return TrafficRequest(
            "POST", f"{path}/{verb}", None, sets, random.choice(self._users) if verb == "approve" else task.user
        )

    async def _send_and_record(
        self, endpoint: Endpoint, verb: str, key: int | None, marker: str, request: TrafficRequest
    ) -> TrafficAnswer:
        """Sends the request and records it in the ledger."""
        sent = time.time()
        answer = await self._send(endpoint, verb, request)
        answered = time.time()
        if key is not None and answer.data and answer.data.get("task_id", answer.data.get("id")) != key:
            answer = TrafficAnswer(answer.side, "unknown", answer.status)  # the answer is about another task
        fields = request.fields
        if answer.outcome == "acknowledged" and answer.data:
            fields = {name: answer.data.get(name, value) for name, value in request.fields.items()}
            if verb == "add image":
                fields = {f"image {answer.data['id']}": answer.data["s3_key"]}
            if verb == "create":
                key = answer.data["id"]
        self._ledger.append(
            LedgerRequest(
                answer.side, verb, key, marker, request.user, fields, sent, answered, answer.outcome, answer.status
            )
        )
        kind = f"read {answer.outcome}" if verb == "read" else answer.outcome
        self._outcomes[answer.side or "no side", kind] += 1
        return answer

    async def _send(self, endpoint: Endpoint, verb: str, request: TrafficRequest) -> TrafficAnswer:
        body = None if request.body is None else json.dumps(request.body).encode()
        headers = {"X-User": request.user, "Content-Type": "application/json"}
        side: AnsweringSide | Literal[""] = "" if endpoint == "gateway" else endpoint
        began = time.monotonic()
        try:
            async with self._http.request(
                request.method, self._urls[endpoint] + request.path, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return TrafficAnswer(side, "unknown")
        match response.headers.get(SERVED_BY):
            case "laravel" | "task_service" as served_by if endpoint == "gateway":
                side = served_by
        self._latencies.setdefault(f"{side or 'no side'} {'reads' if verb == 'read' else 'writes'}", []).append(
            time.monotonic() - began
        )
        return TrafficAnswer(side, *interpret(request.method, status, raw))

    def _summary(self, seconds: float) -> dict[str, Any]:
        counted: dict[str, Any] = {f"{side} {what}": count for (side, what), count in sorted(self._outcomes.items())}
        answered = sum(len(times) for times in self._latencies.values())
        milliseconds = {
            f"{name} {share} ms": round(1000 * sorted(times)[int(len(times) * part)], 1)
            for name, times in sorted(self._latencies.items())
            for share, part in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()
        }
        rate = round(answered / seconds, 1) if seconds else 0.0
        return {"seconds": round(seconds, 1), "answers per second": rate, **counted, **milliseconds}


def _fits(task: KnownTask, endpoint: Endpoint, verb: str) -> bool:
    if verb == "restore":
        return task.deleted and endpoint == "laravel"
    if task.deleted:
        return False
    match verb:
        case "complete":
            return task.status == "pending"
        case "uncomplete":
            return task.status != "pending"
        case "approve":
            return task.status == "completed"
        case "add image":
            return len(task.images) < 3
        case "remove image":
            return bool(task.settled_images())
    return True


def interpret(method: str, status: int, raw: bytes) -> tuple[RequestOutcome, int, dict[str, Any]]:
    """Interprets an answer. A 5xx, or an answer that is not the application's, leaves the outcome unknown."""
    if status == 204 and method == "DELETE":
        return "acknowledged", status, {}
    try:
        served_by = json.loads(raw)
        success, data = served_by["success"], served_by.get("data")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "unknown", status, {}
    if (
        success is True
        and status in (200, 201)
        and (isinstance(data, dict) or (isinstance(data, list) and method == "GET"))
    ):
        outcome: RequestOutcome = "acknowledged" if served_by.get("changed") or method == "GET" else "unchanged"
        return outcome, status, data if isinstance(data, dict) else {}
    return ("refused" if success is False and 400 <= status < 500 else "unknown"), status, {}


def cognito_subs(laravel_dsn: str) -> list[str]:
    """Returns the Cognito subs of the first users that have one."""
    with psycopg.connect(laravel_dsn) as session:
        found = session.execute(statement("servers/laravel_data.sql", "cognito subs"), {"most": USERS}).fetchall()
    return [sub for (sub,) in found]


def drive(
    endpoints: Mapping[str, Any], ledger: Path, *, writes: Mapping[Endpoint, float], reads: float, seconds: float
) -> dict[str, Any]:
    """Runs the traffic on the lab of these endpoints, until its time is over or SIGTERM comes."""
    urls: dict[Endpoint, str] = {endpoint: endpoints[f"{endpoint}_url"] for endpoint in writes}
    users, record = cognito_subs(endpoints["laravel_dsn"]), Ledger(ledger)

    async def run() -> dict[str, Any]:
        traffic = LiveTraffic(urls=urls, users=users, ledger=record, writes=writes, reads=reads, seconds=seconds)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, traffic.stop)
        return await traffic.run()

    try:
        return uvloop.run(run())
    finally:
        record.close()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.load.traffic", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", nargs="?", choices=["drive", "check"], default="drive")
    parser.add_argument("--endpoints", type=Path, required=True, help="the lab's endpoints.json")
    parser.add_argument("--ledger", type=Path, required=True, help="the file that records every request")
    parser.add_argument(
        "--gateway-requests",
        type=float,
        help="requests per second through the gateway, half of them writes; excludes the other rates",
    )
    parser.add_argument("--laravel-writes", type=float, help="writes per second to Laravel's application (default: 50)")
    parser.add_argument(
        "--task-service-writes", type=float, help="writes per second to the Task Service's (default: none)"
    )
    parser.add_argument("--reads", type=float, help="reads per second, from the same sides (default: none)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long to run (default: until SIGTERM)")
    parser.add_argument("--fault-from", type=float, help="check: the start of a planned fault, in seconds since 1970")
    parser.add_argument("--fault-to", type=float, default=math.inf, help="check: its end (default: none)")
    asked = parser.parse_args(words)
    endpoints = json.loads(asked.endpoints.read_text(encoding="utf-8"))
    if asked.verb == "check":
        found = account(
            laravel_dsn=endpoints["laravel_dsn"],
            task_service_dsn=endpoints["task_service_dsn"],
            ledger=asked.ledger,
            fault=None if asked.fault_from is None else (asked.fault_from, asked.fault_to),
        )
        print(table(found))
        planned = found.get("failed during the fault", 0)
        return 0 if found["whole"] and found["failed requests"] == planned else 1
    direct_rates = (asked.laravel_writes, asked.task_service_writes, asked.reads)
    writes: dict[Endpoint, float]
    if asked.gateway_requests is None:
        writes = {
            "laravel": 50.0 if asked.laravel_writes is None else asked.laravel_writes,
            "task_service": asked.task_service_writes or 0.0,
        }
        reads = asked.reads or 0.0
    elif any(rate is not None for rate in direct_rates):
        parser.error("--gateway-requests excludes --laravel-writes, --task-service-writes and --reads")
    else:
        writes, reads = {"gateway": asked.gateway_requests / 2}, asked.gateway_requests / 2
    print(json.dumps(drive(endpoints, asked.ledger, writes=writes, reads=reads, seconds=asked.seconds), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
