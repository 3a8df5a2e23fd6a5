"""API Gateway on this machine: routes each live HTTP request by a stage of the AWS emulator.

    python -m lab.gateway.gateway --port 8000 --aws-endpoint-url URL --rest-api ID --stage lab --access-log FILE

Each request goes to the canary at random, by its percentage. A request in progress ends where it started when a setting
changes. The gateway also answers what AWS would answer in an application's place: 502 like a load balancer whose target
is down, 504 like API Gateway when an integration takes too long. ``GET /lab/gateway`` returns the active settings.

The access log has one line of JSON for each answered request, written within a tenth of a second: ``requestId``,
``time`` (of the answer, milliseconds since 1970), ``isCanary``, ``path`` (of the resource), ``method``, ``status``,
``latency`` (ms), ``intStatus`` (null without an answer of the application), ``intLatency`` (ms), ``upstream`` and
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
# A client that closes idle connections earlier never finds one closed. API Gateway's timeout is as long.
IDLE_SECONDS = 75
ENDING_SECONDS = 30


class AccessLog:
    """Buffers lines for FLUSH_SECONDS, then writes them at once. Every line in the file is complete."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        if (size := os.fstat(self._descriptor).st_size) and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # the last line was cut short
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
    """One request on its way, with the fields of the access log."""

    method: str
    path: str | None = None
    canary: bool = False
    upstream: str | None = None
    status_of_upstream: int | None = None
    seconds_of_upstream: float = 0.0
    error: str = ""


class LabGateway:
    """The ASGI application of the gateway."""

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
        """Returns the active settings; 503 until the stage was read once."""
        settings = self._stage.active
        if settings is None:
            return _error_answer(503, "Service Unavailable")
        fields = {
            "deployment": settings.deployment,
            "variables": settings.variables,
            "percent": settings.percent,
            "overrides": settings.overrides,
            "since": settings.since,
            "asked": self._stage.answered_at,
        }
        return HttpAnswer(200, [(b"content-type", b"application/json")], json.dumps(fields).encode())

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
        await _send(send, answer, request_id, without_body=routed.method == "HEAD")

    async def _ask(self, settings: GatewaySettings, scope: Scope, body: bytes, routed: RoutedRequest) -> HttpAnswer:
        """Returns the upstream's answer, or the one that AWS gives in its place."""
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
    """Returns the whole body; None if the client disconnected first."""
    message: Message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return None if message["type"] == "http.disconnect" else body


def _error_answer(status: int, message: str) -> HttpAnswer:
    return HttpAnswer(status, [(b"content-type", b"application/json")], json.dumps({"message": message}).encode())


async def _send(send: Send, answer: HttpAnswer, request_id: str, without_body: bool = False) -> None:
    headers = [one for one in end_to_end_headers(answer.headers) if one[0] != b"date"]
    headers.append((b"x-amzn-requestid", request_id.encode()))
    if without_body:
        headers += [one for one in answer.headers if one[0] == b"content-length"]
    elif answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.gateway.gateway", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aws-endpoint-url", required=True, help="the address of the AWS emulator")
    parser.add_argument("--rest-api", required=True, help="the id of the REST API")
    parser.add_argument("--stage", required=True)
    parser.add_argument("--access-log", type=Path, required=True)
    parser.add_argument("--propagation-seconds", type=float, default=0.0, help="the delay of a changed setting")
    arguments = parser.parse_args()

    def client() -> Any:
        return Aws(AWS_REGION, arguments.aws_endpoint_url).client("apigateway", attempts=1)

    stage = StageSettings(client, arguments.rest_api, arguments.stage, arguments.propagation_seconds)
    serve(
        LabGateway(stage, AccessLog(arguments.access_log)),
        arguments.port,
        idle_seconds=IDLE_SECONDS,
        ending_seconds=ENDING_SECONDS,
    )


if __name__ == "__main__":
    main()
