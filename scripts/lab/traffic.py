"""Live traffic on both apps that remembers every acknowledged write, and the check that none of them was lost.

    python -m lab.traffic --endpoints FILE --laravel-writes 50 --task-service-writes 5 --seconds 30 --ledger FILE
    python -m lab.traffic check --endpoints FILE --ledger FILE

Users with a Cognito sub create, change, complete, approve, delete and restore tasks, and write their tags, images and
groups, on both sides at once; it only writes tasks that it made. At most one write of a task is under way on each side,
so the order of a side's writes is known. SIGTERM ends it as the end of its time does: what is under way is waited for.
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
from typing import Any

import aiohttp
import psycopg
import uvloop

from lab.accounting import account, table
from lab.ledger import Ledger, Outcome, Side, Write
from lab.statements import statement

ANSWER_SECONDS = 5.0
CROSSING_SECONDS = 1.0
"""How long a task is left alone on the side where it was not made."""
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
class Task:
    """What the traffic believes of a task of its own; the other side may be ahead of it."""

    key: int
    marker: str
    user: str
    made_on: Side
    made_at: float
    status: str = "pending"
    deleted: bool = False
    images: list[int] = field(default_factory=list)
    busy: set[Side] = field(default_factory=set)


@dataclass(frozen=True)
class Ask:
    """One request: what is sent, and which fields it sets."""

    method: str
    path: str
    body: dict[str, Any] | None
    fields: dict[str, Any]
    user: str


class Traffic:
    """A run: so many writes and reads a second, for so many seconds.

    Reads go to the sides that are written to. ``urls`` are where the sides answer; ``users`` their Cognito subs.
    """

    def __init__(
        self,
        *,
        urls: Mapping[Side, str],
        users: list[str],
        ledger: Ledger,
        writes: Mapping[Side, float],
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
        self._tasks: list[Task] = []
        self._stopping = asyncio.Event()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._latencies: dict[str, list[float]] = {}

    def stop(self) -> None:
        """Lets ``run`` end when what is under way is answered."""
        self._stopping.set()

    async def run(self) -> dict[str, Any]:
        """Until the time is over or ``stop`` is called. What was done, as JSON values; times in milliseconds."""
        began = time.monotonic()
        limits = aiohttp.TCPConnector(limit=0, force_close=False)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(connector=limits, timeout=timeout, trust_env=False) as self._http:
            written: list[Side] = [side for side, rate in self._writes.items() if rate] or ["laravel"]
            streams = [self._stream(self._writes[side], self._writer(side)) for side in self._writes]
            streams += [self._stream(self._reads / len(written), self._reader(side)) for side in written]
            over = asyncio.create_task(self._end_of_time())
            await asyncio.gather(*streams)
            over.cancel()
        return self._summary(time.monotonic() - began)

    async def _end_of_time(self) -> None:
        if math.isfinite(self._seconds):
            await asyncio.sleep(self._seconds)
            self.stop()

    async def _stream(self, rate: float, act: Callable[[], Awaitable[None]]) -> None:
        """Calls ``act`` at this rate, several at once if need be. What is late by a second is never made up."""
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

    def _writer(self, side: Side) -> Callable[[], Awaitable[None]]:
        async def write() -> None:
            (verb,) = random.choices(list(MIX), list(MIX.values()))
            task = self._fitting(side, verb) or self._fitting(side, verb := "update")
            if task is None or verb == "create":
                await self._create(side)
                return
            task.busy.add(side)
            try:
                await self._change(side, verb, task)
            finally:
                task.busy.discard(side)

        return write

    def _reader(self, side: Side) -> Callable[[], Awaitable[None]]:
        async def read() -> None:
            task = self._fitting(side, "update")
            path = f"/api/tasks/{task.key}" if task is not None and random.random() < 0.8 else "/api/tasks"
            user = task.user if task is not None else random.choice(self._users)
            outcome, _, _ = await self._send(side, "read", Ask("GET", path, None, {}, user))
            self._outcomes[side, f"read {outcome}"] += 1

        return read

    def _fitting(self, side: Side, verb: str) -> Task | None:
        """A task that this can be done to, by what is believed of it; None if some tries find none."""
        settled = time.time() - CROSSING_SECONDS
        for task in random.choices(self._tasks, k=6) if self._tasks else ():
            near = task.made_on == side or task.made_at < settled
            if near and side not in task.busy and _fits(task, side, verb):
                return task
        return None

    async def _create(self, side: Side) -> None:
        self._number += 1
        marker, user = f"{self._run}-{self._number}", random.choice(self._users)
        body = {"title": f"{marker} made", "description": f"by {marker} 🎉", "difficulty": random.randint(1, 5)}
        if random.random() < 0.2:
            body["tags"] = random.sample(TAGS, 2)
        sets = {"user_id": user, "tags": [], "status": "pending", "group": None, "deleted": False, **body}
        ask = Ask("POST", "/api/tasks", body, sets, user)
        data = await self._remembered(side, "create", None, marker, ask)
        if data is not None:
            self._tasks.append(Task(data["id"], marker, user, side, time.time()))

    async def _change(self, side: Side, verb: str, task: Task) -> None:
        ask = self._ask(verb, task)
        data = await self._remembered(side, verb, task.key, task.marker, ask)
        if data is None:
            return
        if verb in ("delete", "restore"):
            task.deleted = verb == "delete"
        elif verb == "add image":
            task.images.append(data["id"])
        elif verb == "remove image":
            task.images.remove(int(ask.path.rpartition("/")[2]))
        else:
            task.status = data["status"]

    def _ask(self, verb: str, task: Task) -> Ask:
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
                return Ask("PUT", path, body, body, task.user)
            case "delete":
                return Ask("DELETE", path, None, {"deleted": True}, task.user)
            case "tags":
                body = {"tags": sorted(random.sample(TAGS, random.randint(0, 3)))}
                return Ask("PUT", f"{path}/tags", body, body, task.user)
            case "add image":
                return Ask("POST", f"{path}/images", {"s3_key": f"task_images/{own}.png"}, {}, task.user)
            case "remove image":
                image = random.choice(task.images)
                return Ask("DELETE", f"{path}/images/{image}", None, {f"image {image}": None}, task.user)
            case "group":
                flags = {"requires_approval": random.random() < 0.3, "requires_image": random.random() < 0.3}
                body = {"group_id": str(uuid.uuid4()), "reward": 10 * random.randint(0, 50), **flags}
                return Ask("PUT", f"{path}/group", body, {"group": body}, task.user)
            case "restore":
                return Ask("POST", f"{path}/restore", None, {"deleted": False}, task.user)
        sets = {"status": {"complete": "completed", "uncomplete": "pending", "approve": "approved"}[verb]}
        return Ask("POST", f"{path}/{verb}", None, sets, random.choice(self._users) if verb == "approve" else task.user)

    async def _remembered(self, side: Side, verb: str, key: int | None, marker: str, ask: Ask) -> dict[str, Any] | None:
        """Sends it and keeps it in the ledger; the answer's data ({} if it has none), None if not acknowledged."""
        sent = time.time()
        outcome, status, data = await self._send(side, verb, ask)
        answered = time.time()
        fields = ask.fields
        if outcome == "acknowledged" and data:
            fields = {name: data.get(name, value) for name, value in ask.fields.items()}
            if verb == "add image":
                fields = {f"image {data['id']}": data["s3_key"]}
        if outcome == "acknowledged" and verb == "create":
            key = data["id"]
        self._ledger.keep(Write(side, verb, key, marker, ask.user, fields, sent, answered, outcome, status))
        self._outcomes[side, outcome] += 1
        return data if outcome in ("acknowledged", "unchanged") else None

    async def _send(self, side: Side, verb: str, ask: Ask) -> tuple[Outcome, int, dict[str, Any]]:
        body = None if ask.body is None else json.dumps(ask.body).encode()
        headers = {"X-User": ask.user, "Content-Type": "application/json"}
        began = time.monotonic()
        try:
            async with self._http.request(
                ask.method, self._urls[side] + ask.path, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return "unknown", 0, {}
        self._latencies.setdefault(f"{side} {'reads' if verb == 'read' else 'writes'}", []).append(
            time.monotonic() - began
        )
        return meaning(ask.method, status, raw)

    def _summary(self, seconds: float) -> dict[str, Any]:
        counted: dict[str, Any] = {f"{side} {what}": count for (side, what), count in sorted(self._outcomes.items())}
        answered = sum(len(times) for times in self._latencies.values())
        milliseconds = {
            f"{name} {share} ms": round(1000 * sorted(times)[int(len(times) * part)], 1)
            for name, times in sorted(self._latencies.items())
            for share, part in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()
        }
        rate = round(answered / seconds, 1) if seconds else 0.0
        return {"seconds": round(seconds, 1), "answers a second": rate, **counted, **milliseconds}


def _fits(task: Task, side: Side, verb: str) -> bool:
    if verb == "restore":
        return task.deleted and side == "laravel"
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
            return bool(task.images)
    return True


def meaning(method: str, status: int, raw: bytes) -> tuple[Outcome, int, dict[str, Any]]:
    """What an answer means. Only the app's own words count: a page of somebody else's, or a 5xx, leaves it unknown."""
    if status == 204 and method == "DELETE":
        return "acknowledged", status, {}
    try:
        told = json.loads(raw)
        success, data = told["success"], told.get("data")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "unknown", status, {}
    if success is True and status in (200, 201) and isinstance(data, (dict, list)):
        outcome: Outcome = "acknowledged" if told.get("changed") or method == "GET" else "unchanged"
        return outcome, status, data if isinstance(data, dict) else {}
    return ("refused" if success is False and 400 <= status < 500 else "unknown"), status, {}


def users_of(laravel_dsn: str) -> list[str]:
    """The Cognito subs of the first users that have one."""
    with psycopg.connect(laravel_dsn) as session:
        found = session.execute(statement("accounting.sql", "users"), {"most": USERS}).fetchall()
    return [sub for (sub,) in found]


def drive(
    endpoints: Mapping[str, Any], ledger: Path, *, writes: Mapping[Side, float], reads: float, seconds: float
) -> dict[str, Any]:
    """Runs it on the lab that the endpoints tell of, until its time is over or SIGTERM comes."""
    urls: dict[Side, str] = {"laravel": endpoints["laravel_url"], "task_service": endpoints["task_service_url"]}
    users, book = users_of(endpoints["laravel_dsn"]), Ledger(ledger)

    async def run() -> dict[str, Any]:
        traffic = Traffic(urls=urls, users=users, ledger=book, writes=writes, reads=reads, seconds=seconds)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, traffic.stop)
        return await traffic.run()

    try:
        return uvloop.run(run())
    finally:
        book.close()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.traffic", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", nargs="?", choices=["drive", "check"], default="drive")
    parser.add_argument("--endpoints", type=Path, required=True, help="endpoints.json of the lab")
    parser.add_argument("--ledger", type=Path, required=True, help="the file that remembers every write")
    parser.add_argument("--laravel-writes", type=float, default=50.0, help="writes a second on Laravel's app")
    parser.add_argument("--task-service-writes", type=float, default=0.0, help="writes a second on the Task Service's")
    parser.add_argument("--reads", type=float, default=0.0, help="reads a second, on the sides that are written to")
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long (default: until SIGTERM)")
    asked = parser.parse_args(words)
    endpoints = json.loads(asked.endpoints.read_text(encoding="utf-8"))
    if asked.verb == "check":
        found = account(
            laravel_dsn=endpoints["laravel_dsn"], task_service_dsn=endpoints["task_service_dsn"], ledger=asked.ledger
        )
        print(table(found))
        return 0 if found["whole"] else 1
    writes: dict[Side, float] = {"laravel": asked.laravel_writes, "task_service": asked.task_service_writes}
    print(json.dumps(drive(endpoints, asked.ledger, writes=writes, reads=asked.reads, seconds=asked.seconds), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
