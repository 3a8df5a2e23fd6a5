"""Faults that can be switched on and off while an app runs: ``PUT /lab/faults``, and what they do to every other route.

Whatever the app or a fault answers says whose it is: ``X-Served-By``.

    {"error_rate": 0.5, "latency_ms": 1000, "down": false, "garbage": false}

``error_rate``  this share of the requests is answered 500, and nothing of them is done;
``latency_ms``  each request waits so long before anything is done;
``down``        each connection is closed without an answer, as if the process were gone;
``garbage``     each request is answered 200 with a page of HTML, and nothing of it is done.
What is not named in the body is switched off. ``GET /lab/faults`` says what is on.
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
    """What is on; nothing by default."""

    error_rate: float = 0.0
    latency_ms: float = 0.0
    down: bool = False
    garbage: bool = False

    def __post_init__(self) -> None:
        numbers = (self.error_rate, 1), (self.latency_ms, LONGEST_LATENCY_MS)
        if not all(type(value) in (int, float) and 0 <= value <= most for value, most in numbers):
            raise ValueError(f"error_rate is from 0 to 1, latency_ms from 0 to {LONGEST_LATENCY_MS}")
        if not (isinstance(self.down, bool) and isinstance(self.garbage, bool)):
            raise ValueError("down and garbage are true or false")


class FaultInjector:
    """An app of one side, with faults. It stands around all others, so that ``down`` finds the connection itself."""

    def __init__(self, app: ASGIApp, side: str) -> None:
        self._app = app
        self._served_by = (b"x-served-by", side.encode())
        self._faults = Faults()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self._served_by]
            await send(message)

        if scope["path"] == ROUTE:
            await (await self._switch(Request(scope, receive)))(scope, receive, signed)
        elif self._faults.down:
            await _hang_up(receive, send)
        elif self._faults == Faults() or not await self._spoilt(scope, receive, signed):
            await self._app(scope, receive, signed)

    async def _switch(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                self._faults = Faults(**json.loads(await request.body()))
            except (TypeError, ValueError) as error:
                return JSONResponse({"success": False, "error": str(error)}, 422)
        elif request.method != "GET":
            return JSONResponse({"success": False, "error": "GET or PUT"}, 405)
        return JSONResponse(asdict(self._faults))

    async def _spoilt(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Does to one request what is on; whether it was answered."""
        faults = self._faults
        await asyncio.sleep(faults.latency_ms / 1000)
        answer: Response | None = None
        if faults.garbage:
            answer = HTMLResponse("<html><body><h1>It works!</h1></body></html>")
        elif random.random() < faults.error_rate:
            answer = JSONResponse({"success": False, "error": "a fault that was switched on"}, 500)
        if answer is None:
            return False
        await answer(scope, receive, send)
        return True


async def _hang_up(receive: Receive, send: Send) -> None:
    """ASGI has no word for it, so uvicorn's own transport, behind ``send``, is asked."""
    owner: Any = getattr(send, "__self__", None)
    owner.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        continue
