"""What the lab's two apps share: answers, refusals, the way to the database, and the process that serves them.

Answers are JSON, as the plan's controller gives them: ``{"success": true, "changed": ..., "data": ...}``, and
``{"success": false, "error": "..."}``. ``changed`` is false where a write found everything as it asks for, so that the
database was not written to. The database makes the JSON of a task itself; Python only passes it on.
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
    """A request that is answered with an error; the message goes to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TaskApi:
    """The routes of one app, of one side, on its database. ``file`` holds its statements and the block ``document``.

    The database need not be there yet, and may go away and come back: connections are made when they are needed, and
    until one can be had the answer is 503.
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
        """The first column of the first row of a statement that is a transaction of its own; None if it gives none."""
        async with self.pool.connection() as connection:
            return await self.run_in(connection, name, **values)

    async def run_in(self, connection: psycopg.AsyncConnection[Any], name: str, **values: Any) -> Any:
        """As ``one``, on a connection whose transaction the caller holds."""
        cursor = await connection.execute(statement_with_document(self.file, name), values)
        row = await cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection in a transaction."""
        async with self.pool.connection() as connection, connection.transaction():
            yield connection

    def application(self) -> ASGIApp:
        """The routes, with what holds for all of them, and the faults around it."""

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
        """200 if the tables can be asked, 503 if not."""
        await self.run("health")
        return success("{}")

    async def _answer_database_error(self, _: Request, error: Exception) -> Response:
        """The client's fault, or the database's; the text of an error is not shown, it may quote a row."""
        message = f"the database says {type(error).__name__} ({getattr(error, 'sqlstate', None) or 'no code'})"
        if isinstance(error, pg.UniqueViolation):
            return error_answer(409, message)
        if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)):
            return error_answer(422, message)
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, pg.UndefinedTable)):
            # One connection is lost: the others may be as well, and would each spoil a request.
            if self._checking is None or self._checking.done():
                self._checking = asyncio.create_task(self.pool.check())
            return error_answer(503, message)
        return error_answer(500, message)


@cache
def statement_with_document(file: str, name: str) -> bytes:
    """A statement with the JSON of a task put in where it says ``{document}``."""
    return statement(file, name, document=as_sql(blocks(file)["document"])).as_bytes(None)


def success(document: str, status: int = 200, *, changed: bool = True) -> Response:
    """A success; ``document`` is JSON as the database made it."""
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
    return ApiError(404, f"there is no task {key} of this user's")


async def body_of(request: Request) -> dict[str, Any]:
    """The request's JSON object; {} if there is no body."""
    raw = await request.body()
    try:
        found = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is no JSON") from None
    if not isinstance(found, dict):
        raise ApiError(400, "the body is no JSON object")
    return found


FieldRule = Callable[[Any], bool]


def text(value: Any) -> bool:
    return isinstance(value, str)


def text_or_nothing(value: Any) -> bool:
    return value is None or isinstance(value, str)


def short_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT


def difficulty(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 5


def number_or_nothing(value: Any) -> bool:
    return value is None or type(value) is int


def truth_or_nothing(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def names(value: Any) -> bool:
    return isinstance(value, list) and all(short_text(name) for name in value)


TASK: Mapping[str, FieldRule] = {
    "title": short_text,
    "description": text_or_nothing,
    "difficulty": difficulty,
    "tags": names,
}
CHANGE: Mapping[str, FieldRule] = {name: TASK[name] for name in ("title", "description", "difficulty")}
TAGS: Mapping[str, FieldRule] = {"tags": names}
IMAGE: Mapping[str, FieldRule] = {"s3_key": short_text}
GROUP: Mapping[str, FieldRule] = {
    "group_id": text_or_nothing,
    "reward": number_or_nothing,
    "requires_approval": truth_or_nothing,
    "requires_image": truth_or_nothing,
}


def validated(
    body: Mapping[str, Any], rules: Mapping[str, FieldRule], required: Sequence[str] = ()
) -> Mapping[str, Any]:
    """The body, if every field is known and in order, and none is missing. Raises Refusal, 422, with a field's name."""
    for name in required:
        if name not in body:
            raise ApiError(422, f"{name} is missing")
    for name, value in body.items():
        if name not in rules:
            raise ApiError(422, f"{name} is no field that may be given here")
        if not rules[name](value):
            raise ApiError(422, f"{name} has a value that it can't have")
    return body


def serve(application: ASGIApp, port: int, *, idle_seconds: int = 5, ending_seconds: int = 3) -> None:
    """Serves it on this machine alone until SIGTERM, and then what is under way for ``ending_seconds`` at most.

    A connection on which nothing comes for ``idle_seconds`` is closed.
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
    """What the two apps are started with: a port, a connection string without a password, and ``files``."""
    parser = argparse.ArgumentParser(prog=f"python -m lab.{program}")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dsn", required=True, help="libpq's, with passfile= in place of a password")
    for name, about in files.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=about)
    return parser.parse_args()
