"""The Task Service's API on its own schema.

    python -m lab.apps.task_service_app --port 8002 --dsn "host=127.0.0.1 ..." --service-token-file FILE

It has the same public routes and answers as Laravel's application, plus ``start`` and ``reject``. Timestamps are UTC,
in milliseconds as Sequelize writes them. A delete is physical. The header ``X-User`` replaces the session: a user's
Cognito sub.

Requests of the sync have the service token (``Authorization: Bearer``). Their POST, PUT and DELETE write whole tasks of
any user: see ``apply_task``. Such a transaction is marked, so that the change log's triggers ignore it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab.apps.service_token import ServiceToken
from lab.apps.task_api import (
    CHANGE,
    GROUP,
    IMAGE,
    NEWEST,
    TAGS,
    TASK,
    ApiError,
    FieldRule,
    TaskApi,
    json_body,
    not_found,
    number_or_null,
    parse_arguments,
    serve,
    success,
    text,
    text_or_null,
    validated,
)
from lab.locations import S3_BUCKET

PUBLIC_VERBS = ("complete", "uncomplete", "approve", "start", "reject")
PUBLIC_TASK: Mapping[str, FieldRule] = {**TASK, "id": lambda value: type(value) is int, "status": text}
WHOLE_TASK: Mapping[str, FieldRule] = {
    "id": lambda value: type(value) is int,
    "user_id": text,
    "title": text,
    "description": text_or_null,
    "difficulty": number_or_null,
    "status": text,
    "completed_at": text_or_null,
    "approved_at": text_or_null,
    "approved_by": text_or_null,
    "tags": lambda value: isinstance(value, list) and all(text(name) for name in value),
    "created_at": text,
    "updated_at": text,
    "group": lambda value: value is None or isinstance(value, dict),
    "approval": lambda value: value is None or isinstance(value, dict),
    "images": lambda value: isinstance(value, list) and all(isinstance(image, dict) for image in value),
}


def now() -> datetime:
    """Returns the time as Sequelize writes it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def tags_of(names: list[str]) -> str:
    """Returns the names as JSON, sorted by code points, without duplicates."""
    return json.dumps(sorted(set(names)))


class TaskServiceApi(TaskApi):
    """The routes, and the sync's token."""

    side = "task_service"
    file = "apps/task_service_app.sql"

    def __init__(self, dsn: str, service_token_file: Path) -> None:
        super().__init__(dsn)
        self._token = ServiceToken(service_token_file)

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

    def is_the_sync(self, request: Request) -> bool:
        """Returns whether the request has the service token. Raises ApiError, 401, for another token."""
        given = request.headers.get("authorization")
        if given is not None and not self._token.accepts(given):
            raise ApiError(401, "the token is not accepted")
        return given is not None

    def user(self, request: Request) -> str:
        """Returns the Cognito sub of the request's user. Raises ApiError, 401, if there is none."""
        name = request.headers.get("x-user", "")
        if not name or self.is_the_sync(request):
            raise ApiError(401, "X-User names no user")
        return name

    async def index(self, request: Request) -> Response:
        return success(await self.run("tasks of user", user=self.user(request), newest=NEWEST), changed=False)

    async def show(self, request: Request) -> Response:
        document = await self.run("task", task=request.path_params["task"], user=self.user(request))
        return success(_found_or_404(document, request), changed=False)

    async def store(self, request: Request) -> Response:
        if self.is_the_sync(request):
            body = validated(await json_body(request), WHOLE_TASK, required=("id", "user_id", "title"))
            return success(await self.apply_task(body["id"], body), 201)
        user = self.user(request)
        body = validated(await json_body(request), PUBLIC_TASK, required=("title",))
        values = {
            "user": user,
            "title": body["title"],
            "description": body.get("description"),
            "difficulty": body.get("difficulty", 3),
            "status": body.get("status", "pending"),
            "tags": tags_of(body.get("tags", [])),
            "now": now(),
        }
        if "id" not in body:
            return success(await self.run("create", **values), 201)
        document = await self.run("create or replace", id=body["id"], **values)
        if document is None:
            raise ApiError(409, f"task {body['id']} belongs to another user")
        return success(document, 201)

    async def update(self, request: Request) -> Response:
        key = request.path_params["task"]
        if self.is_the_sync(request):
            body = validated(await json_body(request), WHOLE_TASK, required=("user_id", "title"))
            if body.get("id", key) != key:
                raise ApiError(422, f"the body describes another task than {key}")
            return success(await self.apply_task(key, body, new=False))
        body = validated(await json_body(request), CHANGE)
        return await self._save(request, "update", fields=json.dumps(dict(body)))

    async def act(self, request: Request) -> Response:
        """Handles POST .../complete, uncomplete, approve, start, reject and images."""
        verb = request.path_params["verb"]
        if verb == "images":
            return await self.store_image(request)
        if verb not in PUBLIC_VERBS:
            raise ApiError(404, f"there is no route {verb}")
        return await self._save(request, verb)

    async def tags(self, request: Request) -> Response:
        body = validated(await json_body(request), TAGS, required=("tags",))
        return await self._save(request, "tags", tags=tags_of(body["tags"]))

    async def group(self, request: Request) -> Response:
        key, user = request.path_params["task"], self.user(request)
        body = validated(await json_body(request), GROUP, required=("group_id",))
        values: dict[str, Any] = {"requires_approval": False, "requires_image": False, "reward": None, **body}
        async with self.transaction() as connection:
            moment = now()
            _found_or_404(await self.run_in(connection, "touch", task=key, user=user, now=moment), request)
            if body["group_id"] is None:
                await self.run_in(connection, "leave group", task=key)
            else:
                await self.run_in(connection, "join group", task=key, now=moment, **values)
            return success(await self.run_in(connection, "task", task=key, user=user))

    async def destroy(self, request: Request) -> Response:
        """Deletes the task and the rows that belong to it; for the sync, the task of any user."""
        key, by_the_sync = request.path_params["task"], self.is_the_sync(request)
        user = None if by_the_sync else self.user(request)
        async with self.transaction() as connection:
            if by_the_sync:
                await self.run_in(connection, "mark as sync")
            _found_or_404(await self.run_in(connection, "lock", task=key, user=user), request)
            for name in ("delete images", "delete approvals", "leave group", "delete task"):
                await self.run_in(connection, name, task=key)
        return Response(status_code=204)

    async def store_image(self, request: Request) -> Response:
        key, user = request.path_params["task"], self.user(request)
        s3_key = validated(await json_body(request), IMAGE, required=("s3_key",))["s3_key"]
        url = f"https://{S3_BUCKET}.s3.amazonaws.com/{quote(s3_key, safe='/')}"
        async with self.transaction() as connection:
            moment = now()
            _found_or_404(await self.run_in(connection, "touch", task=key, user=user, now=moment), request)
            values = {"task": key, "user": user, "s3_key": s3_key, "s3_url": url, "now": moment}
            return success(await self.run_in(connection, "add image", **values), 201)

    async def destroy_image(self, request: Request) -> Response:
        key, image, user = request.path_params["task"], request.path_params["image"], self.user(request)
        async with self.transaction() as connection:
            _found_or_404(await self.run_in(connection, "touch", task=key, user=user, now=now()), request)
            if await self.run_in(connection, "remove image", task=key, image=image) is None:
                raise ApiError(404, f"there is no image {image} of task {key}")
        return Response(status_code=204)

    async def apply_task(self, key: int, body: Mapping[str, Any], *, new: bool = True) -> str:
        """Writes the task as the body describes it, in one transaction. Returns the task's JSON afterwards.

        ``category_id``, ``reflection`` and an approval's ``comment`` belong to the Task Service and remain. ``group``
        and ``approval`` null delete those rows; ``images`` is the complete list. A field that is not named remains.
        Raises ApiError: 409 if the id belongs to another user, 404 if the task does not exist and ``new`` is false.
        """
        own = {name: body[name] for name in body if name not in ("group", "approval", "images")}
        if "tags" in own:
            own["tags"] = sorted(set(own["tags"]))
        async with self.transaction() as connection:

            async def run(name: str, fields: object = None) -> Any:
                return await self.run_in(connection, name, task=key, fields=json.dumps(fields), now=now(), user=None)

            await run("mark as sync")
            if not new and await run("lock") is None:
                raise ApiError(404, f"there is no task {key}")
            if await run("apply task", {**own, "id": key}) is None:
                raise ApiError(409, f"task {key} belongs to another user")
            if "group" in body:
                await (run("leave group") if body["group"] is None else run("apply group", body["group"]))
            if "approval" in body:
                await (run("remove approval") if body["approval"] is None else run("apply approval", body["approval"]))
            if "images" in body:
                await run("delete other images", body["images"])
                await run("apply images", body["images"])
            return str(await run("task"))

    async def _save(self, request: Request, name: str, **values: Any) -> Response:
        values |= {"task": request.path_params["task"], "user": self.user(request), "now": now()}
        return success(_found_or_404(await self.run(name, **values), request))


def _found_or_404(found: Any, request: Request) -> str:
    """Returns the result of a statement. Raises ApiError, 404, if it is None."""
    if found is None:
        raise not_found(request.path_params["task"])
    return str(found)


if __name__ == "__main__":
    asked = parse_arguments("task_service_app", service_token_file="the file with the token of the sync")
    serve(TaskServiceApi(asked.dsn, asked.service_token_file).application(), asked.port)
