"""Laravel's task routes on Laravel's schema. Every write is what Eloquent would write.

    python -m lab.apps.laravel_app --port 8001 --dsn "host=127.0.0.1 ... user=laravel passfile=..."

Timestamps are Laravel's: without a time zone, in the application's local time, in whole seconds. A delete is soft.
Saving an unchanged model writes nothing. Attaching tags does not touch the task. The header ``X-User`` replaces the
session: a user's id or Cognito sub. The routes are in README.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab.apps.task_api import (
    CHANGE,
    GROUP,
    IMAGE,
    NEWEST,
    TAGS,
    TASK,
    ApiError,
    TaskApi,
    json_body,
    not_found,
    parse_arguments,
    serve,
    success,
    validated,
)
from lab.servers.laravel_tables import TIMEZONE

_ZONE = ZoneInfo(TIMEZONE)


def now() -> datetime:
    """Returns the time as Eloquent writes it."""
    return datetime.now(_ZONE).replace(tzinfo=None, microsecond=0)


class LaravelApi(TaskApi):
    """The routes, and the users that were already looked up."""

    side = "laravel"
    file = "apps/laravel_app.sql"
    session_options = f"-c timezone={TIMEZONE}"

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self._users: dict[str, int] = {}

    def routes(self) -> list[Route]:
        task = "/api/tasks/{task:int}"
        return [
            Route("/api/tasks", self.index, methods=["GET"]),
            Route("/api/tasks", self.store, methods=["POST"]),
            Route(task, self.show, methods=["GET"]),
            Route(task, self.update, methods=["PUT"]),
            Route(task, self.destroy, methods=["DELETE"]),
            Route(f"{task}/{{verb:str}}", self.act, methods=["POST"]),
            Route(f"{task}/tags", self.tags, methods=["PUT"]),
            Route(f"{task}/group", self.group, methods=["PUT"]),
            Route(f"{task}/images/{{image:int}}", self.destroy_image, methods=["DELETE"]),
        ]

    async def user(self, request: Request) -> int:
        """Returns users.id of the request's user. Raises ApiError, 401, if there is none."""
        name = request.headers.get("x-user", "")
        if name not in self._users:
            key = int(name) if name.isdecimal() and len(name) < 19 else None
            found = await self.run("user", sub=name, key=key) if name else None
            if found is None:
                raise ApiError(401, "X-User names no user")
            self._users[name] = found
        return self._users[name]

    async def index(self, request: Request) -> Response:
        return success(await self.run("tasks of user", user=await self.user(request), newest=NEWEST), changed=False)

    async def show(self, request: Request) -> Response:
        return success(await self._find_task(request.path_params["task"], await self.user(request)), changed=False)

    async def store(self, request: Request) -> Response:
        user = await self.user(request)
        body = validated(await json_body(request), TASK, required=("title",))
        values = {
            "user": user,
            "title": body["title"],
            "description": body.get("description"),
            "priority": body.get("difficulty", 3),
            "now": now(),
        }
        if not body.get("tags"):
            return success(await self.run("create", **values), 201)
        async with self.transaction() as connection:
            document = await self.run_in(connection, "create", **values)
            task = json.loads(document)["id"]
            await self._sync_tags(connection, task, body["tags"])
            return success(await self.run_in(connection, "task", task=task, user=user), 201)

    async def update(self, request: Request) -> Response:
        body = validated(await json_body(request), CHANGE)
        return await self._save(request, "update", fields=json.dumps(dict(body)))

    async def group(self, request: Request) -> Response:
        body = validated(await json_body(request), GROUP, required=("group_id",))
        return await self._save(request, "group", **{name: body.get(name) for name in GROUP})

    async def act(self, request: Request) -> Response:
        """Handles POST .../complete, uncomplete, approve, restore and images."""
        verb = request.path_params["verb"]
        if verb == "images":
            return await self.store_image(request)
        if verb not in ("complete", "uncomplete", "approve", "restore"):
            raise ApiError(404, f"there is no route {verb}")
        return await self._save(request, verb)

    async def destroy(self, request: Request) -> Response:
        key = request.path_params["task"]
        if await self.run("delete", task=key, user=await self.user(request), now=now()) is None:
            raise not_found(key)
        return Response(status_code=204)

    async def tags(self, request: Request) -> Response:
        key, user = request.path_params["task"], await self.user(request)
        body = validated(await json_body(request), TAGS, required=("tags",))
        async with self.transaction() as connection:
            if await self.run_in(connection, "task", task=key, user=user) is None:
                raise not_found(key)
            changed = await self._sync_tags(connection, key, body["tags"])
            return success(await self.run_in(connection, "task", task=key, user=user), changed=changed)

    async def store_image(self, request: Request) -> Response:
        key, user = request.path_params["task"], await self.user(request)
        body = validated(await json_body(request), IMAGE, required=("s3_key",))
        image = await self.run("add image", task=key, user=user, s3_key=body["s3_key"], now=now())
        if image is None:
            raise not_found(key)
        return success(image, 201)

    async def destroy_image(self, request: Request) -> Response:
        key, image = request.path_params["task"], request.path_params["image"]
        if await self.run("remove image", task=key, image=image, user=await self.user(request)) is None:
            raise ApiError(404, f"this user has no image {image} of a task {key}")
        return Response(status_code=204)

    async def _save(self, request: Request, name: str, **values: Any) -> Response:
        """Finds the task, and saves it if the statement changes it."""
        key, user = request.path_params["task"], await self.user(request)
        document = await self.run(name, task=key, user=user, now=now(), **values)
        if document is not None:
            return success(document)
        if name == "restore":  # only a deleted task can be restored
            raise not_found(key)
        return success(await self._find_task(key, None if name == "approve" else user), changed=False)

    async def _find_task(self, key: int, user: int | None) -> str:
        document = await self.run("task", task=key, user=user)
        if document is None:
            raise not_found(key)
        return str(document)

    async def _sync_tags(self, connection: psycopg.AsyncConnection[Any], key: int, wanted: list[str]) -> bool:
        """Does firstOrCreate for each name, then ``$task->tags()->sync``, which detaches first. Returns whether it
        wrote."""
        values: Mapping[str, Any] = {"task": key, "names": sorted(set(wanted)), "now": now()}
        await self.run_in(connection, "new tags", **values)
        changes = [await self.run_in(connection, name, **values) for name in ("detach tags", "attach tags")]
        return any(changes)


if __name__ == "__main__":
    asked = parse_arguments("laravel_app")
    serve(LaravelApi(asked.dsn).application(), asked.port)
