"""API Gateway on this machine: routes live HTTP as a stage of the AWS emulator says, request by request.

    python -m lab.gateway.gateway --port 8000 --aws-endpoint-url URL --rest-api ID --stage lab --access-log FILE

Whether a request is a canary's is decided at random, for each anew. What is under way when a setting changes ends where
it began. What would be answered in an app's place is answered here: 502 by its load balancer if there is no app, 504 by
API Gateway itself if it takes too long. ``GET /lab/gateway`` tells the settings in force.

The access log has one line of JSON for each request that was answered, a tenth of a second after it at the latest:
``requestId``, ``time`` (of the answer, milliseconds since 1970), ``isCanary``, ``path`` (the resource's), ``method``,
``status``, ``latency`` (ms), ``intStatus`` (null if the app gave no answer), ``intLatency`` (ms), ``upstream`` and
``err``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from task_migration.external.aws import Aws

from lab.apps.task_api import serve
from lab.gateway.stage_settings import GatewaySettings, StageSettings
from lab.gateway.upstream import HttpAnswer, HttpRequest, NoAnswer, Upstream, end_to_end_headers
from lab.locations import AWS_REGION

ROUTE = "/lab/gateway"
FLUSH_SECONDS = 0.05
# A client that keeps a connection for less than that never finds it closed; API Gateway is as patient.
IDLE_SECONDS = 75
ENDING_SECONDS = 30


class AccessLog:
    """Lines are kept for FLUSH_SECONDS and then written at once, each of them whole."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        if (size := os.fstat(self._descriptor).st_size) and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # one that ended in the middle of a line
        self._lines: list[str] = []

    def add(self, line: dict[str, Any]) -> None:
        self._lines.append(json.dumps(line, separators=(",", ":")))

    async def keep_writing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self.write()

    def write(self) -> None:
        if self._lines:
            text, self._lines = "\n".join(self._lines) + "\n", []
            os.write(self._descriptor, text.encode())

    def close(self) -> None:
        self.write()
        os.close(self._descriptor)


@dataclass(slots=True)
class RoutedRequest:
    """One request on its way, as the access log tells it."""

    method: str
    path: str | None = None
    canary: bool = False
    upstream: str | None = None
    status_of_upstream: int | None = None
    seconds_of_upstream: float = 0.0
    error: str = ""


class LabGateway:
    """The ASGI application."""

    def __init__(self, stage: StageSettings, log: AccessLog) -> None:
        self._stage = stage
        self._log = log
        self._upstreams: dict[str, Upstream] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] == ROUTE:
            await _send(send, self._settings_answer(), "")
        else:
            await self._route(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._stage.start()
        writing = asyncio.create_task(self._log.keep_writing())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._stage.end()
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        self._log.close()
        for upstream in self._upstreams.values():
            upstream.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _settings_answer(self) -> HttpAnswer:
        """503 until the stage was seen."""
        settings = self._stage.active
        if settings is None:
            return _error_answer(503, "Service Unavailable")
        settings_shown = {
            "deployment": settings.deployment,
            "variables": settings.variables,
            "percent": settings.percent,
            "overrides": settings.overrides,
            "since": settings.since,
            "asked": self._stage.answered_at,
        }
        return HttpAnswer(200, [(b"content-type", b"application/json")], json.dumps(settings_shown).encode())

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        settings = self._stage.active
        routed = RoutedRequest(scope["method"])
        body = await _body(receive)
        if body is None:
            return
        answer = (
            _error_answer(503, "Service Unavailable")
            if settings is None
            else await self._ask(settings, scope, body, routed)
        )
        request_id = str(uuid.uuid4())
        self._log.add(
            {
                "requestId": request_id,
                "time": int(time.time() * 1000),
                "isCanary": routed.canary,
                "path": routed.path,
                "method": routed.method,
                "status": answer.status,
                "latency": round((time.perf_counter() - began) * 1000, 1),
                "intStatus": routed.status_of_upstream,
                "intLatency": round(routed.seconds_of_upstream * 1000, 1),
                "upstream": routed.upstream,
                "err": routed.error,
            }
        )
        await _send(send, answer, request_id, headless=routed.method == "HEAD")

    async def _ask(self, settings: GatewaySettings, scope: Scope, body: bytes, routed: RoutedRequest) -> HttpAnswer:
        """What the request's upstream answers, or what AWS does in its place."""
        matched = settings.resource(scope["raw_path"].decode("ascii"))
        method = scope["method"]
        integration = matched and (matched[0].methods.get(method) or matched[0].methods.get("ANY"))
        if matched is None or not integration:
            return _error_answer(403, "Missing Authentication Token")
        routed.path = matched[0].path
        routed.canary = settings.percent is not None and random.random() * 100 < settings.percent
        address = integration.address(settings.variables_for(routed.canary), matched[1])
        if address is None:
            return _error_answer(500, "Internal server error")
        authority, _, path = address.partition("/")
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        request = HttpRequest(method, f"/{path}{query}", scope["headers"], body)
        routed.upstream = authority
        upstream = self._upstreams.get(authority) or self._upstreams.setdefault(authority, Upstream(authority))
        began = time.perf_counter()
        try:
            answer = await upstream.ask(request, integration.seconds)
            routed.status_of_upstream = answer.status
        except NoAnswer as error:
            routed.error = str(error)
            return _error_answer(502, "Bad Gateway")
        except TimeoutError:
            routed.error = "timeout"
            return _error_answer(504, "Endpoint request timed out")
        finally:
            routed.seconds_of_upstream = time.perf_counter() - began
        return answer


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if the client went away before its end."""
    message: Message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return None if message["type"] == "http.disconnect" else body


def _error_answer(status: int, message: str) -> HttpAnswer:
    return HttpAnswer(status, [(b"content-type", b"application/json")], json.dumps({"message": message}).encode())


async def _send(send: Send, answer: HttpAnswer, request_id: str, headless: bool = False) -> None:
    headers = [one for one in end_to_end_headers(answer.headers) if one[0] != b"date"]
    headers.append((b"x-amzn-requestid", request_id.encode()))
    if headless:
        headers += [one for one in answer.headers if one[0] == b"content-length"]
    elif answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.gateway.gateway", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aws-endpoint-url", required=True, help="where the AWS emulator is")
    parser.add_argument("--rest-api", required=True, help="the REST API's id")
    parser.add_argument("--stage", required=True)
    parser.add_argument("--access-log", type=Path, required=True)
    parser.add_argument("--propagation-seconds", type=float, default=0.0, help="a changed setting is in force so late")
    asked = parser.parse_args()

    def client() -> Any:
        return Aws(AWS_REGION, asked.aws_endpoint_url).client("apigateway", attempts=1)

    stage = StageSettings(client, asked.rest_api, asked.stage, asked.propagation_seconds)
    serve(
        LabGateway(stage, AccessLog(asked.access_log)),
        asked.port,
        idle_seconds=IDLE_SECONDS,
        ending_seconds=ENDING_SECONDS,
    )


if __name__ == "__main__":
    main()
