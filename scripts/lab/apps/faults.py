"""Faults that can be switched on and off while an application runs, with ``PUT /lab/faults``.

    {"error_rate": 0.5, "latency_ms": 1000, "down": false, "garbage": false}

``error_rate``  answers this share of the requests with 500, without processing them; ``latency_ms``  delays each
request by this time; ``down``        closes each connection without an answer, as if the process were gone; ``garbage``
answers each request with 200 and an HTML page, without processing it.

A fault that the body does not name is switched off. ``GET /lab/faults`` returns the faults that are on. Every answer
names its application in the header ``X-Served-By``, also that of a fault.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import asdict, dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUTE = "/lab/faults"
LONGEST_LATENCY_MS = 60_000


@dataclass(frozen=True)
class Faults:
    """The faults that are on; none by default."""

    error_rate: float = 0.0
    latency_ms: float = 0.0
    down: bool = False
    garbage: bool = False

    def __post_init__(self) -> None:
        numbers = (self.error_rate, 1), (self.latency_ms, LONGEST_LATENCY_MS)
        if not all(type(value) in (int, float) and 0 <= value <= maximum for value, maximum in numbers):
            raise ValueError(f"error_rate must be from 0 to 1, latency_ms from 0 to {LONGEST_LATENCY_MS}")
        if not (isinstance(self.down, bool) and isinstance(self.garbage, bool)):
            raise ValueError("down and garbage must be true or false")


class FaultInjector:
    """Adds faults to the application of one side. It is the outermost layer, so ``down`` can close the connection
    itself."""

    def __init__(self, app: ASGIApp, side: str) -> None:
        self._app = app
        self._served_by = (b"x-served-by", side.encode())
        self._faults = Faults()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self._served_by]
            await send(message)

        if scope["path"] == ROUTE:
            await (await self._faults_route(Request(scope, receive)))(scope, receive, send_with_header)
        elif self._faults.down:
            await _close_connection(receive, send)
        elif self._faults == Faults() or not await self._apply(scope, receive, send_with_header):
            await self._app(scope, receive, send_with_header)

    async def _faults_route(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                self._faults = Faults(**json.loads(await request.body()))
            except (TypeError, ValueError) as error:
                return JSONResponse({"success": False, "error": str(error)}, 422)
        elif request.method != "GET":
            return JSONResponse({"success": False, "error": "GET or PUT"}, 405)
        return JSONResponse(asdict(self._faults))

    async def _apply(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Applies the faults to one request. Returns whether it was answered."""
        faults = self._faults
        await asyncio.sleep(faults.latency_ms / 1000)
        answer: Response | None = None
        if faults.garbage:
            answer = HTMLResponse("<html><body><h1>It works!</h1></body></html>")
        elif random.random() < faults.error_rate:
            answer = JSONResponse({"success": False, "error": "a fault of the lab is switched on"}, 500)
        if answer is None:
            return False
        await answer(scope, receive, send)
        return True


async def _close_connection(receive: Receive, send: Send) -> None:
    """Closes the connection. ASGI has no message for that, so this uses uvicorn's transport, which owns ``send``."""
    owner: Any = getattr(send, "__self__", None)
    owner.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        continue
