"""The loopback HTTP server of a running sync: GET /health for the runbook, GET /metrics for Prometheus."""

from __future__ import annotations

import errno
import http.client
import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from task_migration.errors import Refused
from task_migration.runtime import prometheus_exporter
from task_migration.runtime.sync_status import SyncStatus

HOST = "127.0.0.1"
_LONGEST_ANSWER = 1_000_000


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    status: SyncStatus

    def server_bind(self) -> None:
        # HTTPServer's own method asks DNS for the name of this machine, which may hang.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5

    def do_GET(self) -> None:
        status = self.server.status
        if self.path == "/health":
            body = (json.dumps(status.as_json(), indent=2) + "\n").encode()
            self._answer(200 if status.healthy else 503, "application/json", body)
        elif self.path == "/metrics":
            self._answer(200, CONTENT_TYPE_PLAIN_0_0_4, prometheus_exporter.exposed(status))
        else:
            self._answer(404, "text/plain; charset=utf-8", b"GET /health or /metrics\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Logs nothing: a request every second would fill the log."""


@contextmanager
def answering(status: SyncStatus, port: int) -> Iterator[int]:
    """Answers on 127.0.0.1 while the block runs. Yields the port; with ``port`` 0 it is any free one.

    Raises Refused if the port is in use, most likely by another worker of this direction.
    """
    try:
        server = _Server((HOST, port), _Handler)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise Refused(f"cannot listen on {HOST}:{port}", measured=error.strerror or str(error)) from error
        raise Refused(
            f"{HOST}:{port} is in use, probably by another sync {status.direction} on this machine",
            allowed="one sync on each port; a second worker on this machine needs --health-port",
            next_step=f"curl http://{HOST}:{port}/health shows which process it is",
        ) from error
    server.status = status
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def p95_ms(health: Mapping[str, Any] | None) -> float | None:
    """Returns the sync's latency in ms, p95 of the last 10 s, from an answer of GET /health; None without a value."""
    p95 = ((health or {}).get("lag_ms_10_s") or {}).get("p95")
    return None if p95 is None else float(p95)


def ask(port: int, timeout: float = 2) -> dict[str, Any] | None:
    """Returns the health of the sync that listens on this port, healthy or not; None if no sync answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("GET", "/health")
        answer = json.loads(connection.getresponse().read(_LONGEST_ANSWER))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) and "direction" in answer else None
