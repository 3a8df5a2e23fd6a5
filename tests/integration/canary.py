"""What the gate and the bake look at: figures, two syncs that tell of their health, databases that are equal."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sides import SIGNED_OFF, Sides
from task_migration.control import consistency_history, journal
from task_migration.postgres import database
from task_migration.runtime import health_endpoint
from task_migration.runtime.stop_signal import Stop
from task_migration.runtime.sync_status import SyncStatus

NAMES = ("requests", "errors", "slow", "p95_ms", "all_requests", "all_errors", "cpu_percent")


@dataclass
class Figures:
    """What a Prometheus answers, by name; None for no answer, and nothing at all while it is ``away``.

    ``before`` is what it answers of a window that ended a minute ago or earlier, ``newest`` of one that is not longer
    than so many seconds.
    """

    values: dict[str, float | None] = field(
        default_factory=lambda: dict(zip(NAMES, (5000, 0, 10, 41, 20_000, 0, 12), strict=True))
    )
    before: dict[str, float] | None = None
    newest: tuple[float, dict[str, float | None]] | None = None
    away: bool = False
    asked: list[str] = field(default_factory=list)
    source: dict[str, Any] = field(default_factory=dict)

    def become(self, **values: float | None) -> None:
        self.values = {**self.values, **values}


@contextmanager
def figures() -> Iterator[Figures]:
    """A Prometheus whose queries are the names of the figures; ``source`` is the inventory's metric_source for it."""
    found = Figures()

    def answer(path: str, _: Any) -> tuple[int, bytes]:
        asked = parse_qs(urlsplit(path).query)
        query = asked["query"][0]
        found.asked.append(query)
        name, seconds = query.split()[:2]
        value = found.values[name]
        if found.before and float(asked["time"][0]) < time.time() - 55:
            value = found.before.get(name, value)
        if found.newest and int(seconds) <= found.newest[0]:
            value = found.newest[1].get(name, value)
        series = [] if value is None else [{"metric": {}, "value": [0, str(value)]}]
        told = {"status": "success", "data": {"resultType": "vector", "result": series}}
        return (503, b"away") if found.away else (200, json.dumps(told).encode())

    with serving(answer) as url:
        queries = {name: f"{name} {{seconds}}" for name in NAMES} | {"slow": "slow {seconds} {slow_seconds}"}
        found.source = {
            "kind": "prometheus",
            "url": url,
            "period_seconds": 1,
            "delay_seconds": 0,
            "queries": queries,
        }
        yield found


@contextmanager
def serving(answer: Any) -> Iterator[str]:
    """An HTTP server whose answers are ``answer(path, headers)``: status and body, and perhaps headers; where it is."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body, *headers = answer(self.path, self.headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers[0].items() if headers else ():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Canary:
    """Sides that are equal and verified, both syncs running, and good figures. ``options`` are the gate's."""

    sides: Sides
    figures: Figures
    forward: SyncStatus
    backward: SyncStatus
    ports: dict[str, int]

    @property
    def options(self) -> dict[str, Any]:
        return {
            "laravel_dsn": self.sides.laravel_dsn,
            "task_service_dsn": self.sides.task_service_dsn,
            "sync_health_ports": self.ports,
            "aws_region": "ap-northeast-1",
            "quarantine_signed_off": SIGNED_OFF,
            "metric_source": self.figures.source,
            "weight": 25,
            "canary_settle_seconds": 0,
        }

    def shifted(self, seconds_ago: float = 0, to: int = 25) -> None:
        """The journal says so."""
        with database.connect(database.laravel(self.sides.laravel_dsn), "test") as connection:
            journal.ensure(connection)
        self.sides.ours(
            "INSERT INTO task_migration.journal (at, operator, host, command, phase, item, result, evidence) VALUES"
            " (clock_timestamp() - make_interval(secs => %s), 'me', 'here', 'test', '2.4', 'shift', 'done', %s)",
            seconds_ago,
            json.dumps({"from": 5, "to": to}),
        )

    def checked(self, passed: bool | None = True) -> None:
        """A consistency check that ended just now."""
        told = {} if passed else {"reasons": ["tasks: 1 missing"]}
        with database.connect(database.laravel(self.sides.laravel_dsn), "test") as connection:
            consistency_history.keep(
                connection,
                passed=passed,
                seconds=0.2,
                differences=0,
                keys=[],
                change_log_length=0,
                alerted=False,
                details=told,
            )


@contextmanager
def canary(sides: Sides) -> Iterator[Canary]:
    """Over sides that are copied and verified; as if no weight had ever been set."""
    sides.ours("DROP TABLE IF EXISTS task_migration.journal")
    vitals = SimpleNamespace(forward=SyncStatus("forward", Stop()), backward=SyncStatus("backward", Stop()))
    vitals.forward.become("running")
    vitals.backward.become("running")
    with (
        figures() as found,
        health_endpoint.answering(vitals.forward, 0) as forward,
        health_endpoint.answering(vitals.backward, 0) as backward,
    ):
        made = Canary(sides, found, vitals.forward, vitals.backward, {"forward": forward, "backward": backward})
        made.checked()
        yield made
