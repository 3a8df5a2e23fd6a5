"""The common part of the lab's two applications: answers, errors, database access, and the HTTP server.

Answers are JSON, as in the plan's controller: ``{"success": true, "changed": ..., "data": ...}``, and ``{"success":
false, "error": "..."}``. ``changed`` is false if a write found the row as requested and wrote nothing. PostgreSQL
builds the JSON of a task; Python only forwards it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import uvicorn
from psycopg import errors as pg
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp
from task_migration.sql_files import as_sql

from lab.apps.faults import FaultInjector
from lab.servers.postgres_server import HOST
from lab.sql_files import blocks, statement

CONNECTIONS = 10
WAIT_SECONDS = 2.0
LONGEST_TEXT = 255
NEWEST = 50


class ApiError(Exception):
    """A request that is answered with an error. The message is sent to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TaskApi:
    """The routes of one side's application, on its database. ``file`` holds its statements and the block ``document``.

    The database may be missing at the start, go away and come back. Connections are opened when they are needed;
    without one, the answer is 503.
    """

    side: str
    file: str
    session_options = "-c timezone=UTC"

    def __init__(self, dsn: str) -> None:
        self.pool = AsyncConnectionPool(
            dsn,
            min_size=0,
            max_size=CONNECTIONS,
            open=False,
            timeout=WAIT_SECONDS,
            reconnect_timeout=1.0,
            max_idle=60,
            kwargs={"autocommit": True, "connect_timeout": 3, "options": self.session_options},
        )
        self._checking: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        raise NotImplementedError

    async def run(self, name: str, **values: Any) -> Any:
        """Runs a statement as its own transaction. Returns the first column of the first row, None without a row."""
        async with self.pool.connection() as connection:
            return await self.run_in(connection, name, **values)

    async def run_in(self, connection: psycopg.AsyncConnection[Any], name: str, **values: Any) -> Any:
        """Does the same as ``run``, in the caller's transaction."""
        cursor = await connection.execute(statement_with_document(self.file, name), values)
        row = await cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Opens a connection and a transaction on it."""
        async with self.pool.connection() as connection, connection.transaction():
            yield connection

    def application(self) -> ASGIApp:
        """Returns the ASGI application: the routes, the error handlers, and the faults around them."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            await self.pool.open(wait=False)
            try:
                yield
            finally:
                await self.pool.close(timeout=2)

        app = Starlette(
            routes=[*self.routes(), Route("/health", self.health)],
            lifespan=lifespan,
            exception_handlers={
                ApiError: answer_api_error,
                HTTPException: answer_http_error,
                psycopg.Error: self._answer_database_error,
            },
        )
        return FaultInjector(app, self.side)

    async def health(self, _: Request) -> Response:
        """Answers 200 if the tables can be read, else 503."""
        await self.run("health")
        return success("{}")

    async def _answer_database_error(self, _: Request, error: Exception) -> Response:
        """Answers with an error class only, because the text of a database error may quote a row."""
        message = f"database error: {type(error).__name__} ({getattr(error, 'sqlstate', None) or 'no code'})"
        if isinstance(error, pg.UniqueViolation):
            return error_answer(409, message)
        if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)):
            return error_answer(422, message)
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, pg.UndefinedTable)):
            # One connection is lost. The others may be too, and each would make another request fail.
            if self._checking is None or self._checking.done():
                self._checking = asyncio.create_task(self.pool.check())
            return error_answer(503, message)
        return error_answer(500, message)


@cache
def statement_with_document(file: str, name: str) -> bytes:
    """Returns a statement with the JSON of a task in place of ``{document}``."""
    return statement(file, name, document=as_sql(blocks(file)["document"])).as_bytes(None)


def success(document: str, status: int = 200, *, changed: bool = True) -> Response:
    """Returns a success; ``document`` is JSON built by the database."""
    body = f'{{"success":true,"changed":{"true" if changed else "false"},"data":{document}}}'
    return Response(body.encode(), status, media_type="application/json")


def error_answer(status: int, message: str) -> Response:
    body = json.dumps({"success": False, "error": message})
    return Response(body.encode(), status, media_type="application/json")


async def answer_api_error(_: Request, error: Exception) -> Response:
    return error_answer(error.status if isinstance(error, ApiError) else 500, str(error))


async def answer_http_error(_: Request, error: Exception) -> Response:
    return error_answer(error.status_code, error.detail) if isinstance(error, HTTPException) else error_answer(500, "")


def not_found(key: int) -> ApiError:
    return ApiError(404, f"this user has no task {key}")


async def json_body(request: Request) -> dict[str, Any]:
    """Returns the request's JSON object; {} without a body."""
    raw = await request.body()
    try:
        found = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise ApiError(400, "the body is not a JSON object")
    return found


FieldRule = Callable[[Any], bool]


def text(value: Any) -> bool:
    return isinstance(value, str)


def text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def short_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT


def difficulty(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 5


def number_or_null(value: Any) -> bool:
    return value is None or type(value) is int


def boolean_or_null(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def names(value: Any) -> bool:
    return isinstance(value, list) and all(short_text(name) for name in value)


TASK: Mapping[str, FieldRule] = {
    "title": short_text,
    "description": text_or_null,
    "difficulty": difficulty,
    "tags": names,
}
CHANGE: Mapping[str, FieldRule] = {name: TASK[name] for name in ("title", "description", "difficulty")}
TAGS: Mapping[str, FieldRule] = {"tags": names}
IMAGE: Mapping[str, FieldRule] = {"s3_key": short_text}
GROUP: Mapping[str, FieldRule] = {
    "group_id": text_or_null,
    "reward": number_or_null,
    "requires_approval": boolean_or_null,
    "requires_image": boolean_or_null,
}


def validated(
    body: Mapping[str, Any], rules: Mapping[str, FieldRule], required: Sequence[str] = ()
) -> Mapping[str, Any]:
    """Returns the body. Raises ApiError, 422, if a field is missing, unknown or not valid."""
    for name in required:
        if name not in body:
            raise ApiError(422, f"{name} is missing")
    for name, value in body.items():
        if name not in rules:
            raise ApiError(422, f"{name} is not a field of this request")
        if not rules[name](value):
            raise ApiError(422, f"the value of {name} is not valid")
    return body


def serve(application: ASGIApp, port: int, *, idle_seconds: int = 5, ending_seconds: int = 3) -> None:
    """Serves the application on 127.0.0.1 until SIGTERM. Requests in progress then have ``ending_seconds`` to finish.

    A connection without a request for ``idle_seconds`` is closed.
    """
    uvicorn.run(
        application,
        host=HOST,
        port=port,
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=idle_seconds,
        timeout_graceful_shutdown=ending_seconds,
    )


def parse_arguments(program: str, **files: str) -> argparse.Namespace:
    """Parses the command line of an application: a port, a connection string without a password, and ``files``."""
    parser = argparse.ArgumentParser(prog=f"python -m lab.{program}")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dsn", required=True, help="a libpq connection string with passfile= instead of a password")
    for name, about in files.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=about)
    return parser.parse_args()
