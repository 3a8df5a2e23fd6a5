"""The Task Service's API, on its own schema.

    python -m lab.apps.task_service_app --port 8002 --dsn "host=127.0.0.1 ..." --service-token-file FILE

The same public routes and answers as Laravel's app, and ``start`` and ``reject`` besides. Times are UTC, in
milliseconds as Sequelize writes them; a delete is physical. The user stands in the header ``X-User``, by her Cognito
sub.

With the service token (``Authorization: Bearer``), which the sync bears, POST, PUT and DELETE take whole tasks of any
user: see ``take``. Such a transaction is marked, so that the change log's triggers pass over it.
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
    body_of,
    not_found,
    number_or_nothing,
    parse_arguments,
    serve,
    success,
    text,
    text_or_nothing,
    validated,
)
from lab.locations import S3_BUCKET

PUBLIC_VERBS = ("complete", "uncomplete", "approve", "start", "reject")
PUBLIC_TASK: Mapping[str, FieldRule] = {**TASK, "id": lambda value: type(value) is int, "status": text}
WHOLE_TASK: Mapping[str, FieldRule] = {
    "id": lambda value: type(value) is int,
    "user_id": text,
    "title": text,
    "description": text_or_nothing,
    "difficulty": number_or_nothing,
    "status": text,
    "completed_at": text_or_nothing,
    "approved_at": text_or_nothing,
    "approved_by": text_or_nothing,
    "tags": lambda value: isinstance(value, list) and all(text(name) for name in value),
    "created_at": text,
    "updated_at": text,
    "group": lambda value: value is None or isinstance(value, dict),
    "approval": lambda value: value is None or isinstance(value, dict),
    "images": lambda value: isinstance(value, list) and all(isinstance(image, dict) for image in value),
}


def now() -> datetime:
    """As Sequelize writes a date."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def tags_of(names: list[str]) -> str:
    """Sorted and distinct, by code points."""
    return json.dumps(sorted(set(names)))


class TaskServiceApi(TaskApi):
    """The routes, and whose token the sync's is."""

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
        """Whether the service token came. Raises Refusal, 401, for another token."""
        given = request.headers.get("authorization")
        if given is not None and not self._token.accepts(given):
            raise ApiError(401, "the token is not accepted")
        return given is not None

    def user(self, request: Request) -> str:
        """Whose session it is: a Cognito sub. Raises Refusal, 401, if nobody's."""
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
            body = validated(await body_of(request), WHOLE_TASK, required=("id", "user_id", "title"))
            return success(await self.take(body["id"], body), 201)
        user = self.user(request)
        body = validated(await body_of(request), PUBLIC_TASK, required=("title",))
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
            raise ApiError(409, f"task {body['id']} is another user's")
        return success(document, 201)

    async def update(self, request: Request) -> Response:
        key = request.path_params["task"]
        if self.is_the_sync(request):
            body = validated(await body_of(request), WHOLE_TASK, required=("user_id", "title"))
            if body.get("id", key) != key:
                raise ApiError(422, f"the body is of another task than {key}")
            return success(await self.take(key, body, new=False))
        body = validated(await body_of(request), CHANGE)
        return await self._saved(request, "update", fields=json.dumps(dict(body)))

    async def act(self, request: Request) -> Response:
        """POST .../complete, uncomplete, approve, start, reject and images."""
        verb = request.path_params["verb"]
        if verb == "images":
            return await self.store_image(request)
        if verb not in PUBLIC_VERBS:
            raise ApiError(404, f"there is no route {verb}")
        return await self._saved(request, verb)

    async def tags(self, request: Request) -> Response:
        body = validated(await body_of(request), TAGS, required=("tags",))
        return await self._saved(request, "tags", tags=tags_of(body["tags"]))

    async def group(self, request: Request) -> Response:
        key, user = request.path_params["task"], self.user(request)
        body = validated(await body_of(request), GROUP, required=("group_id",))
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
        """The task with all that is its own; of any user if the sync asks."""
        key, by_the_sync = request.path_params["task"], self.is_the_sync(request)
        user = None if by_the_sync else self.user(request)
        async with self.transaction() as connection:
            if by_the_sync:
                await self.run_in(connection, "mark as the sync's")
            _found_or_404(await self.run_in(connection, "lock", task=key, user=user), request)
            for name in ("delete images", "delete approvals", "leave group", "delete task"):
                await self.run_in(connection, name, task=key)
        return Response(status_code=204)

    async def store_image(self, request: Request) -> Response:
        key, user = request.path_params["task"], self.user(request)
        s3_key = validated(await body_of(request), IMAGE, required=("s3_key",))["s3_key"]
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

    async def take(self, key: int, body: Mapping[str, Any], *, new: bool = True) -> str:
        """Makes the task exactly what the body says, in one transaction; the JSON of what it is then.

        ``category_id``, ``reflection`` and an approval's ``comment`` are the Task Service's own and stay. ``group`` and
        ``approval`` null take those away; ``images`` is the whole list. A field that is not named stays as it is.
        Raises Refusal: 409 if the id is another user's, 404 if there is no such task and none may be made.
        """
        own = {name: body[name] for name in body if name not in ("group", "approval", "images")}
        if "tags" in own:
            own["tags"] = sorted(set(own["tags"]))
        async with self.transaction() as connection:

            async def take(name: str, fields: object = None) -> Any:
                return await self.run_in(connection, name, task=key, fields=json.dumps(fields), now=now(), user=None)

            await take("mark as the sync's")
            if not new and await take("lock") is None:
                raise ApiError(404, f"there is no task {key}")
            if await take("take task", {**own, "id": key}) is None:
                raise ApiError(409, f"task {key} is another user's")
            if "group" in body:
                await (take("leave group") if body["group"] is None else take("take group", body["group"]))
            if "approval" in body:
                await (
                    take("take no approval") if body["approval"] is None else take("take approval", body["approval"])
                )
            if "images" in body:
                await take("drop other images", body["images"])
                await take("take images", body["images"])
            return str(await take("task"))

    async def _saved(self, request: Request, name: str, **values: Any) -> Response:
        values |= {"task": request.path_params["task"], "user": self.user(request), "now": now()}
        return success(_found_or_404(await self.run(name, **values), request))


def _found_or_404(found: Any, request: Request) -> str:
    """What a statement found. Raises Refusal, 404, if that is nothing."""
    if found is None:
        raise not_found(request.path_params["task"])
    return str(found)


if __name__ == "__main__":
    asked = parse_arguments("task_service_app", service_token_file="holds the token that the sync bears")
    serve(TaskServiceApi(asked.dsn, asked.service_token_file).application(), asked.port)
