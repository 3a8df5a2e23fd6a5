"""The forward worker with the sink ``api``, against the lab's Task Service over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from lab.apps import service_token
from lab.apps.task_service_app import TaskServiceApi
from serving import served
from sides import Sides
from task_migration.errors import Failed, Refused
from task_migration.external.retry import Backoff
from task_migration.sync import api_client, capture, sync_worker
from task_migration.sync.sync_worker import SyncSettings, SyncWorker
from workers import capture_there, standing

NAME = "of_the_api_sync"


@pytest.fixture(scope="module")
def token_file(tmp_path_factory) -> Path:
    file: Path = tmp_path_factory.mktemp("token") / "service-token"
    service_token.make(file)
    return file


@pytest.fixture(scope="module")
def ground(laravel_server, laravel_template, task_service_server, tmp_path_factory) -> Iterator[Sides]:
    with standing(
        laravel_server, laravel_template(150), task_service_server, tmp_path_factory.mktemp("r"), NAME
    ) as made:
        yield made


@pytest.fixture(scope="module")
def url(ground: Sides, token_file: Path) -> Iterator[str]:
    with served(TaskServiceApi(ground.task_service_dsn, token_file).application()) as url:
        yield url


@pytest.fixture
def worker(ground: Sides, url: str, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncWorker]:
    monkeypatch.setattr(api_client, "BACKOFF", Backoff(0.005, 5.0, jitter=1.0))
    settings = {**ground.both, "sink": "api", "task_service_url": url, "service_token_file": str(token_file)}
    made = SyncWorker(SyncSettings.from_dict(settings), "forward")
    made.connect()
    settle(made)
    yield made
    made.close()


@pytest.fixture
def task(ground: Sides, worker: SyncWorker) -> int:
    """A fresh task, on both sides."""
    ((key,),) = ground.laravel("INSERT INTO tasks (user_id, title) VALUES (3, 'a day') RETURNING id")
    settle(worker)
    return int(key)


def settle(worker: SyncWorker) -> None:
    for _ in range(100):
        if not worker.step().entries:
            return
    raise AssertionError("the worker does not come to rest")


def fault(url: str, **on: Any) -> None:
    httpx.put(f"{url}/lab/faults", json=on, trust_env=False).raise_for_status()


def title(sides: Sides, key: int) -> Any:
    return (sides.task(key, "title") or (None,))[0]


def on_the_log(sides: Sides) -> int:
    return int(sides.ours("SELECT count(*) FROM task_migration.change_log")[0][0])


def equal(sides: Sides) -> None:
    assert sides.verify().details["passed"]


def test_what_laravel_writes_is_carried_by_the_api_whole(worker: SyncWorker, ground: Sides, task: int) -> None:
    ((tag,),) = ground.laravel("INSERT INTO tags (name) VALUES ('by the API') RETURNING id")
    ground.laravel("INSERT INTO task_tag VALUES (%s, %s)", task, tag)
    ground.laravel(
        "UPDATE tasks SET group_task_id = gen_random_uuid(), reward = 70, is_completed = true, completed_at = now(),"
        " approved_at = now(), approved_by_user_id = 2 WHERE id = %s",
        task,
    )
    images = ground.laravel(
        "INSERT INTO task_images (task_id, file_path) VALUES (%s, 'one.png'), (%s, 'two.png') RETURNING id", task, task
    )
    settle(worker)
    assert ground.task(task, "status::text, tags") == ("approved", ["by the API"])
    assert ground.target("SELECT reward FROM group_tasks WHERE task_id = %s", task) == [(70,)]
    assert ground.target("SELECT status::text FROM task_approvals WHERE task_id = %s", task) == [("approved",)]
    assert ground.target("SELECT id FROM task_images WHERE task_id = %s ORDER BY id", task) == images
    equal(ground)
    ground.laravel("DELETE FROM task_images WHERE id = %s", images[0][0])
    ground.laravel("UPDATE tags SET name = 'renamed' WHERE id = %s", tag)
    ground.laravel("UPDATE tasks SET group_task_id = NULL, approved_at = NULL WHERE id = %s", task)
    settle(worker)
    assert ground.task(task, "status::text, tags") == ("completed", ["renamed"])
    assert ground.target("SELECT id FROM task_images WHERE task_id = %s", task) == [images[1]]
    equal(ground)
    ground.laravel("UPDATE tasks SET deleted_at = now() WHERE id = %s", task)
    settle(worker)
    assert ground.task(task, "id") is None
    ground.laravel("UPDATE tasks SET deleted_at = NULL WHERE id = %s", task)
    settle(worker)
    assert title(ground, task) == "a day"
    assert ground.target("SELECT id FROM task_images WHERE task_id = %s", task) == [images[1]]
    ground.laravel("DELETE FROM tasks WHERE id = %s", task)
    settle(worker)
    assert ground.task(task, "id") is None
    equal(ground)


@pytest.mark.parametrize("on", [{"error_rate": 1}, {"garbage": True}, {"down": True}])
def test_an_api_that_is_unwell_leaves_everything_on_the_log_until_it_is_well(
    worker: SyncWorker, ground: Sides, task: int, url: str, on: dict[str, Any]
) -> None:
    ground.laravel("UPDATE tasks SET title = 'waits' WHERE id IN (%s, 60)", task)
    claims = ground.ours("SELECT key, changed_at FROM task_migration.change_log ORDER BY key")
    fault(url, **on)
    try:
        with pytest.raises(Failed, match="POST /api/tasks"):
            worker.step()
        assert ground.ours("SELECT key, changed_at FROM task_migration.change_log ORDER BY key") == claims
        assert title(ground, task) == "a day"
        assert ground.target("SELECT kind FROM task_migration.quarantine WHERE kind = 'refused_by_api'") == []
    finally:
        fault(url)
    worker.connect()
    settle(worker)
    assert title(ground, task) == title(ground, 60) == "waits"
    assert on_the_log(ground) == 0
    equal(ground)


def test_an_api_that_fails_now_and_then_is_asked_again(worker: SyncWorker, ground: Sides, url: str) -> None:
    ground.laravel("UPDATE tasks SET title = 'in the end' WHERE id BETWEEN 56 AND 66")
    fault(url, error_rate=0.3)
    try:
        for _ in range(20):
            try:
                settle(worker)
                break
            except Failed:
                worker.connect()
    finally:
        fault(url)
    settle(worker)
    assert on_the_log(ground) == 0
    equal(ground)


def test_a_task_that_the_api_refuses_is_held_back_and_the_others_pass(
    worker: SyncWorker, ground: Sides, task: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(ground.task_service_dsn, autocommit=True) as session:
        session.execute("ALTER TABLE tasks ADD CONSTRAINT of_a_hand CHECK (title <> 'poison') NOT VALID")
        try:
            ground.laravel("UPDATE tasks SET title = 'poison' WHERE id = %s", task)
            ground.laravel("UPDATE tasks SET title = 'passes' WHERE id = 62")
            assert worker.step().held_back == 1
            assert (title(ground, task), title(ground, 62)) == ("a day", "passes")
            kept = session.execute(
                "SELECT table_name, kind, held_back, reason FROM task_migration.quarantine WHERE key = %s", (task,)
            )
            assert kept.fetchall() == [("tasks", "refused_by_api", True, "HTTP 422")]
            assert on_the_log(ground) == 0
            with pytest.raises(Failed, match="refused_by_api"):
                ground.verify()
        finally:
            session.execute("ALTER TABLE tasks DROP CONSTRAINT of_a_hand")
    monkeypatch.setattr(sync_worker, "RETRY_HELD_BACK_SECONDS", -1.0)
    worker.snapshot()
    settle(worker)
    assert title(ground, task) == "poison"
    assert ground.held_back("refused_by_api") == set()
    equal(ground)


def test_a_replaced_token_loses_nothing(worker: SyncWorker, ground: Sides, task: int, token_file: Path) -> None:
    service_token.make(token_file)
    ground.laravel("UPDATE tasks SET title = 'with the new token' WHERE id = %s", task)
    settle(worker)
    assert title(ground, task) == "with the new token"


def test_a_token_that_the_api_does_not_accept_stops_the_worker_and_makes_no_dead_letter(
    ground: Sides, worker: SyncWorker, task: int, url: str, tmp_path: Path
) -> None:
    other = tmp_path / "another-token"
    service_token.make(other)
    settings = {**ground.both, "sink": "api", "task_service_url": url, "service_token_file": str(other)}
    stranger = SyncWorker(SyncSettings.from_dict(settings), "forward")
    ground.laravel("UPDATE tasks SET title = 'waits' WHERE id = %s", task)
    try:
        stranger.connect()
        with pytest.raises(Failed, match="token is not accepted") as said:
            stranger.step()
    finally:
        stranger.close()
    assert other.read_text().strip() not in str(said.value)
    assert ground.held_back("refused_by_api") == set()
    settle(worker)
    assert title(ground, task) == "waits"


def test_the_api_is_refused_while_the_task_services_own_writes_are_captured(
    ground: Sides, worker: SyncWorker, task: int
) -> None:
    capture_there(ground)
    try:
        with pytest.raises(Refused, match="api sink"):
            worker.connect()
    finally:
        capture.capture(
            laravel_dsn="", task_service_dsn=ground.task_service_dsn, side="task_service", state="absent", check=False
        )
    worker.connect()
    ground.laravel("UPDATE tasks SET title = 'afterwards' WHERE id = %s", task)
    settle(worker)
    assert title(ground, task) == "afterwards"
