"""The lab's apps on a test's databases, each on a port of its own, for as long as a test needs them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn


@contextmanager
def served(application: Any) -> Iterator[str]:
    """Serves an app in a thread; where it is."""
    config = uvicorn.Config(application, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Client:
    """Whoever asks an app: a user, or the sync with its token."""

    url: str
    headers: dict[str, str]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=10, verify=False))

    def ask(self, method: str, path: str, status: int = 200, body: Any = None, **more: Any) -> Any:
        """The data of an answer that must have this status; the whole answer if it is an error."""
        answer = self.http.request(method, self.url + path, json=body, headers=self.headers, **more)
        assert answer.status_code == status, (answer.status_code, answer.text)
        if status == 204:
            return None
        told = answer.json()
        assert told["success"] is (status < 400)
        return told["data"] if told["success"] else told

    def make(self, **fields: Any) -> dict[str, Any]:
        """A new task."""
        return dict(self.ask("POST", "/api/tasks", 201, {"title": "a task", **fields}))
