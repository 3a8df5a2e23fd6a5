"""A way to AWS on which one call of UpdateStage never arrives."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_OF_THE_CONNECTION = ("content-length", "transfer-encoding", "connection", "server", "date")


@contextmanager
def door(port: int, number: int, act: Callable[[], None]) -> Iterator[str]:
    """The address of a way to AWS at that port of this machine. ``act`` is done in place of UpdateStage's call of that
    number, from 1, and nothing passes any more."""
    calls: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command == "PATCH":
                calls.append(self.path)
                if len(calls) == number:
                    act()
            if len(calls) >= number:
                self.close_connection = True
                return
            status, headers, told = _asked(port, self.command, self.path, body, dict(self.headers))
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_PATCH = _pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _asked(
    port: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, list[tuple[str, str]], bytes]:
    beyond = http.client.HTTPConnection("127.0.0.1", port)
    try:
        beyond.request(method, path, body, headers)
        answer = beyond.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        beyond.close()
