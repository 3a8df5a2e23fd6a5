"""The lab's two apps: Laravel's writes are Eloquent's, the Task Service's are its own, and both speak alike."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

import httpx
import psycopg
import pytest
from lab.apps import service_token
from lab.apps.laravel_app import LaravelApi
from lab.apps.task_service_app import TaskServiceApi
from lab.locations import S3_BUCKET, TASK_SERVICE_OWNER
from lab.servers import laravel_tables as lab_laravel
from serving import Client, served
from sides import BUCKET, Sides

GROUP = {
    "group_id": "aaaaaaaa-0000-4000-8000-0000000000aa",
    "reward": 70,
    "requires_approval": True,
    "requires_image": False,
}
MOMENT = "2025-01-02T03:04:05.678901Z"


KEYS = count(5000)


@pytest.fixture(scope="module")
def sides(laravel_server, laravel_template, task_service_server, tmp_path_factory):
    """Prepared and copied, and the same for all tests here: none needs more than a task of its own."""
    name = "of_the_apps"
    template = laravel_template(lab_laravel.FEWEST_TASKS)
    laravel_server.add_database(name, lab_laravel.APPLICATION, template=template)
    task_service_server.add_database(name, TASK_SERVICE_OWNER)
    made = Sides(
        laravel_server.dsn(name, lab_laravel.MIGRATOR),
        laravel_server.dsn(name, lab_laravel.APPLICATION),
        task_service_server.dsn(name, TASK_SERVICE_OWNER),
        tmp_path_factory.mktemp("reports"),
    )
    made.prepare()
    made.copy()
    yield made
    laravel_server.drop_database(name)
    task_service_server.drop_database(name)


@pytest.fixture(scope="module")
def subs(sides):
    """The Cognito subs of Laravel's users 1 and 2."""
    return [sub for (sub,) in sides.laravel("SELECT cognito_sub FROM users WHERE id IN (1, 2) ORDER BY id")]


@pytest.fixture(scope="module")
def token_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("token") / "service-token"
    service_token.make(file)
    return file


@pytest.fixture(scope="module")
def laravel_url(sides):
    with served(LaravelApi(sides.laravel_owner_dsn).application()) as url:
        yield url


@pytest.fixture(scope="module")
def task_service_url(sides, token_file):
    with served(TaskServiceApi(sides.task_service_dsn, token_file).application()) as url:
        yield url


@pytest.fixture
def laravel(laravel_url, subs):
    return Client(laravel_url, {"X-User": subs[0]})


@pytest.fixture
def task_service(task_service_url, subs):
    return Client(task_service_url, {"X-User": subs[0]})


@pytest.fixture
def key():
    """The id of a task that there is not yet."""
    return next(KEYS)


@pytest.fixture(params=["laravel", "task_service"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def sync(task_service, token_file):
    return Client(task_service.url, {"Authorization": f"Bearer {token_file.read_text().strip()}"})


def whole(sub, key, **fields):
    return {
        "id": key,
        "user_id": sub,
        "title": "carried",
        "description": None,
        "difficulty": 4,
        "status": "approved",
        "completed_at": MOMENT,
        "approved_at": MOMENT,
        "approved_by": sub,
        "tags": ["b", "a", "b"],
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "group": {**GROUP, "created_at": MOMENT, "updated_at": MOMENT},
        "approval": {
            "approver_id": sub,
            "status": "approved",
            "approved_at": MOMENT,
            "created_at": MOMENT,
            "updated_at": MOMENT,
        },
        "images": [image(sub, key * 10 + 1), image(sub, key * 10 + 2)],
        **fields,
    }


def image(sub, key):
    return {
        "id": key,
        "s3_key": f"{key}.png",
        "s3_url": f"https://x/{key}.png",
        "uploaded_by": sub,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }


# What both have in common


def test_a_client_need_not_know_which_side_answers(either, subs):
    made = either.make(description="words", difficulty=5, tags=["b", "a", "b"])
    path = f"/api/tasks/{made['id']}"
    assert (made["user_id"], made["tags"], made["status"], made["difficulty"]) == (subs[0], ["a", "b"], "pending", 5)
    assert datetime.now(UTC) - datetime.fromisoformat(made["created_at"]) < timedelta(seconds=30)
    assert either.ask("PUT", path, body={"title": "新", "description": None})["title"] == "新"
    assert either.ask("POST", f"{path}/complete")["status"] == "completed"
    approved = either.ask("POST", f"{path}/approve")
    assert (approved["status"], approved["approved_by"]) == ("approved", subs[0])
    undone = either.ask("POST", f"{path}/uncomplete")
    assert (undone["status"], undone["completed_at"], undone["approved_by"]) == ("pending", None, None)
    assert either.ask("PUT", f"{path}/tags", body={"tags": ["c", "a"]})["tags"] == ["a", "c"]
    assert either.ask("PUT", f"{path}/group", body=GROUP)["group"] == GROUP
    assert either.ask("PUT", f"{path}/group", body={"group_id": None})["group"] is None
    added = either.ask("POST", f"{path}/images", 201, {"s3_key": "a b/写真.png"})
    shown = either.ask("GET", path)
    assert shown["images"] == [{"id": added["id"], "s3_key": "a b/写真.png"}]
    assert either.ask("GET", "/api/tasks")[0]["id"] == made["id"]
    either.ask("DELETE", f"{path}/images/{added['id']}", 204)
    either.ask("DELETE", path, 204)
    either.ask("DELETE", path, 404)
    either.ask("GET", path, 404)
    either.ask("GET", "/health")


def test_both_give_the_same_fields(laravel, task_service):
    assert laravel.make().keys() == task_service.make().keys()


def test_nobody_touches_a_task_of_another_user_but_to_approve_it(either, subs):
    path = f"/api/tasks/{either.make()['id']}"
    other = Client(either.url, {"X-User": subs[1]})
    other.ask("GET", path, 404)
    other.ask("PUT", path, 404, {"title": "stolen"})
    other.ask("POST", f"{path}/complete", 404)
    other.ask("PUT", f"{path}/tags", 404, {"tags": []})
    other.ask("PUT", f"{path}/group", 404, GROUP)
    other.ask("POST", f"{path}/images", 404, {"s3_key": "x"})
    other.ask("DELETE", path, 404)
    assert other.ask("POST", f"{path}/approve")["approved_by"] == subs[1]
    assert either.ask("GET", path)["title"] == "a task"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, {}),
        (422, {"title": "x" * 256}),
        (422, {"title": "x", "difficulty": 0}),
        (422, {"title": "x", "difficulty": True}),
        (422, {"title": "x", "tags": "home"}),
        (422, {"title": "x", "due_date": "a field that the two do not share"}),
        (422, {"title": "NUL \0"}),
        (400, []),
    ],
)
def test_a_body_that_can_not_be_is_refused_and_nothing_is_written(either, status, body):
    before = either.ask("GET", "/api/tasks")
    assert either.ask("POST", "/api/tasks", status, body)["error"]
    assert either.ask("GET", "/api/tasks") == before


def test_without_a_user_nobody_gets_in(either):
    Client(either.url, {}).ask("GET", "/api/tasks", 401)
    Client(either.url, {}).ask("POST", "/api/tasks", 401, {"title": "x"})


# Laravel


def test_laravel_writes_naive_local_times_in_whole_seconds(laravel, sides):
    made = laravel.make()
    ((created, updated),) = sides.laravel("SELECT created_at, updated_at FROM tasks WHERE id = %s", made["id"])
    tokyo = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=9)
    assert created == updated
    assert created.microsecond == 0
    assert timedelta(seconds=-1) < tokyo - created < timedelta(seconds=30)
    assert datetime.fromisoformat(made["created_at"]).replace(tzinfo=None) == created - timedelta(hours=9)


def test_laravel_deletes_softly_and_restores(laravel, sides):
    path = f"/api/tasks/{(key := laravel.make()['id'])}"
    laravel.ask("POST", f"{path}/restore", 404)  # only what is trashed is found there
    laravel.ask("DELETE", path, 204)
    ((deleted, updated),) = sides.laravel("SELECT deleted_at, updated_at FROM tasks WHERE id = %s", key)
    assert deleted == updated
    laravel.ask("POST", f"{path}/complete", 404)
    assert laravel.ask("POST", f"{path}/restore")["status"] == "pending"
    assert sides.laravel("SELECT deleted_at FROM tasks WHERE id = %s", key) == [(None,)]


def test_laravel_writes_nothing_where_nothing_changes(laravel, sides):
    made = laravel.make(tags=["a"])
    path, headers = f"{laravel.url}/api/tasks/{made['id']}", laravel.headers
    pending = sides.ours("SELECT count(*) FROM task_migration.change_log")
    for words in (
        ("PUT", "", {"title": made["title"]}),
        ("PUT", "/tags", {"tags": ["a"]}),
        ("POST", "/uncomplete", None),
    ):
        method, verb, body = words
        told = laravel.http.request(method, path + verb, json=body, headers=headers).json()
        assert (told["success"], told["changed"]) == (True, False), words
    assert sides.ours("SELECT count(*) FROM task_migration.change_log") == pending


def test_laravel_saves_only_what_it_was_given_though_the_row_was_locked_meanwhile(laravel, sides):
    key = laravel.make(description="before")["id"]
    with psycopg.connect(sides.laravel_dsn) as other, ThreadPoolExecutor() as pool:
        other.execute("UPDATE tasks SET description = 'of the other', priority = 5 WHERE id = %s", [key])
        saved = pool.submit(laravel.ask, "PUT", f"/api/tasks/{key}", 200, {"title": "new"})
        until(lambda: sides.ours("SELECT count(*) FROM pg_locks WHERE NOT granted") != [(0,)])
        other.commit()
        assert saved.result()["description"] == "of the other"
    assert sides.laravel("SELECT title, description, priority FROM tasks WHERE id = %s", key) == [
        ("new", "of the other", 5)
    ]


def test_laravels_tags_are_shared_rows_and_do_not_touch_their_task(laravel, sides):
    key = laravel.make()["id"]
    sides.laravel("UPDATE tasks SET updated_at = '2020-01-01' WHERE id = %s", key)
    laravel.ask("PUT", f"/api/tasks/{key}/tags", body={"tags": ["home", "never seen"]})
    found = sides.laravel(
        "SELECT t.id, name FROM task_tag JOIN tags t ON t.id = tag_id WHERE task_id = %s ORDER BY 1", key
    )
    assert found[0] == (3, "home")  # the first of two tags of that name
    assert found[1][1] == "never seen"
    assert sides.laravel("SELECT updated_at FROM tasks WHERE id = %s", key) == [(datetime(2020, 1, 1),)]


def test_laravel_knows_a_user_by_id_too(laravel, subs):
    assert Client(laravel.url, {"X-User": "1"}).make()["user_id"] == subs[0]
    assert Client(laravel.url, {"X-User": "8"}).make()["user_id"] is None  # she has no Cognito sub yet
    Client(laravel.url, {"X-User": "999999"}).ask("GET", "/api/tasks", 401)


def test_what_laravels_app_writes_is_carried(laravel, sides):
    key = laravel.make(tags=["a"], difficulty=2)["id"]
    laravel.ask("PUT", f"/api/tasks/{key}/group", body=GROUP)
    laravel.ask("POST", f"/api/tasks/{key}/complete")
    laravel.ask("POST", f"/api/tasks/{key}/images", 201, {"s3_key": "x.png"})
    sides.drain()
    assert sides.task(key, "status::text, difficulty, tags") == ("completed", 2, ["a"])
    assert sides.target("SELECT reward FROM group_tasks WHERE task_id = %s", key) == [(70,)]
    assert sides.target("SELECT s3_key FROM task_images WHERE task_id = %s", key) == [("x.png",)]


# The Task Service


def test_the_task_service_deletes_everything_of_a_task(task_service, sides):
    key = task_service.make()["id"]
    path = f"/api/tasks/{key}"
    task_service.ask("PUT", f"{path}/group", body=GROUP)
    task_service.ask("POST", f"{path}/approve")
    task_service.ask("POST", f"{path}/images", 201, {"s3_key": "x"})
    task_service.ask("DELETE", path, 204)
    for table, column in (
        ("tasks", "id"),
        ("group_tasks", "task_id"),
        ("task_images", "task_id"),
        ("task_approvals", "task_id"),
    ):
        assert sides.target(f"SELECT count(*) FROM {table} WHERE {column} = %s", key) == [(0,)]


def test_an_approval_and_a_rejection_are_rows_of_their_own(task_service, sides, subs):
    path = f"/api/tasks/{(key := task_service.make()['id'])}"
    asked = "SELECT approver_id, status::text, approved_at IS NOT NULL FROM task_approvals WHERE task_id = %s"
    task_service.ask("POST", f"{path}/approve")
    assert sides.target(asked, key) == [(subs[0], "approved", True)]
    assert task_service.ask("POST", f"{path}/reject")["status"] == "rejected"
    assert sides.target(asked, key) == [(subs[0], "rejected", False)]
    assert task_service.ask("POST", f"{path}/start")["status"] == "in_progress"


def test_times_are_in_milliseconds_and_images_have_the_objects_address(task_service, sides):
    key = task_service.make()["id"]
    task_service.ask("POST", f"/api/tasks/{key}/images", 201, {"s3_key": "a b/写.png"})
    ((made, url),) = sides.target("SELECT created_at, s3_url FROM task_images WHERE task_id = %s", key)
    assert made.microsecond % 1000 == 0
    assert url == f"https://{S3_BUCKET}.s3.amazonaws.com/a%20b/%E5%86%99.png"


def test_the_apps_bucket_is_the_labs(project):
    assert f"s3_bucket: {S3_BUCKET}\n" in (project / "inventories/local/group_vars/all.yml").read_text()
    assert BUCKET != S3_BUCKET


def test_a_given_id_is_taken_and_replaces_only_the_same_users_task(task_service, subs, key):
    assert task_service.make(id=key, status="completed")["id"] == key
    assert task_service.make(id=key, title="again")["status"] == "pending"
    Client(task_service.url, {"X-User": subs[1]}).ask("POST", "/api/tasks", 409, {"id": key, "title": "stolen"})
    assert task_service.ask("GET", f"/api/tasks/{key}")["title"] == "again"


def test_the_sync_makes_exactly_the_task_that_it_sends(sync, sides, subs, key):
    for _ in range(2):
        assert sync.ask("POST", "/api/tasks", 201, whole(subs[0], key))["id"] == key
    moment = datetime.fromisoformat(MOMENT)
    asked = "user_id, title, difficulty, status::text, completed_at, approved_by, tags, updated_at"
    assert sides.task(key, asked) == (subs[0], "carried", 4, "approved", moment, subs[0], ["a", "b"], moment)
    assert sides.target("SELECT reward, created_at FROM group_tasks WHERE task_id = %s", key) == [(70, moment)]
    assert sides.target("SELECT approver_id, approved_at FROM task_approvals WHERE task_id = %s", key) == [
        (subs[0], moment)
    ]
    assert sides.target("SELECT id FROM task_images WHERE task_id = %s ORDER BY id", key) == [
        (key * 10 + 1,),
        (key * 10 + 2,),
    ]
    sides.target("UPDATE tasks SET reflection = 'her own' WHERE id = %s", key)
    sides.target("UPDATE task_approvals SET comment = 'well done' WHERE task_id = %s", key)
    sync.ask(
        "PUT", f"/api/tasks/{key}", 200, whole(subs[0], key, images=[image(subs[0], key * 10 + 2)], title="changed")
    )
    assert sides.task(key, "title, reflection") == ("changed", "her own")
    assert sides.target("SELECT comment FROM task_approvals WHERE task_id = %s", key) == [("well done",)]
    assert sides.target("SELECT id FROM task_images WHERE task_id = %s", key) == [(key * 10 + 2,)]
    sync.ask("POST", "/api/tasks", 201, whole(subs[0], key, group=None, approval=None, images=[]))
    for table in ("group_tasks", "task_approvals", "task_images"):
        assert sides.target(f"SELECT count(*) FROM {table} WHERE task_id = %s", key) == [(0,)]


def test_the_sync_does_not_degrade_what_laravel_has_no_word_for(sync, task_service, sides, key):
    made = task_service.make()
    pending = {"id": made["id"], "user_id": made["user_id"], "title": "carried", "status": "pending", "approval": None}
    for verb, status in (("start", "in_progress"), ("reject", "rejected")):
        task_service.ask("POST", f"/api/tasks/{made['id']}/{verb}")
        assert sync.ask("POST", "/api/tasks", 201, pending)["status"] == status
    assert sides.target("SELECT count(*) FROM task_approvals WHERE task_id = %s", made["id"]) == [(1,)]
    assert sync.ask("POST", "/api/tasks", 201, {**pending, "status": "completed"})["status"] == "completed"


def test_what_the_sync_sends_is_all_or_nothing(sync, sides, subs, key):
    wrong = [
        (422, {"title": "x" * 300}),
        (422, {"id": 3_000_000_000}),
        (422, {"status": "done"}),
        (422, {"created_at": "no time"}),
        (422, {"group": {"group_id": "no uuid"}}),
        (422, {"approval": {"approver_id": None}}),
        (422, {"images": [{"id": 1}]}),
        (422, {"unheard_of": 1}),
    ]
    for status, fields in wrong:
        assert sync.ask("POST", "/api/tasks", status, whole(subs[0], key, **fields))["error"], fields
    assert sides.task(key, "id") is None


def test_the_sync_may_not_take_a_task_from_its_owner(sync, sides, subs, key):
    sync.ask("POST", "/api/tasks", 201, whole(subs[0], key))
    sync.ask("POST", "/api/tasks", 409, whole(subs[1], key))
    sync.ask("PUT", f"/api/tasks/{key}", 409, whole(subs[1], key))
    sync.ask("PUT", f"/api/tasks/{key + 10**6}", 404, whole(subs[1], key + 10**6))
    assert sides.task(key, "user_id") == (subs[0],)


def test_the_sync_deletes_any_task_and_says_so_if_there_is_none(sync, sides, subs, key):
    sync.ask("POST", "/api/tasks", 201, whole(subs[1], key))
    sync.ask("DELETE", f"/api/tasks/{key}", 204)
    sync.ask("DELETE", f"/api/tasks/{key}", 404)
    assert sides.target("SELECT count(*) FROM task_images WHERE task_id = %s", key) == [(0,)]


def test_the_syncs_transactions_are_marked_and_the_users_are_not(sync, task_service, sides, subs, key):
    sides.target("CREATE TABLE seen (origin text)")
    sides.target(
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO seen VALUES (current_setting(''task_migration.origin'', true)); RETURN NULL; END'"
    )
    for table in ("tasks", "group_tasks", "task_approvals", "task_images"):
        sides.target(f"CREATE TRIGGER see AFTER INSERT OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION see()")
    sync.ask("POST", "/api/tasks", 201, whole(subs[0], key))
    sync.ask("DELETE", f"/api/tasks/{key}", 204)
    assert sides.target("SELECT DISTINCT origin FROM seen") == [("sync",)]
    sides.target("DELETE FROM seen")
    task_service.make()
    assert sides.target("SELECT DISTINCT coalesce(origin, '') FROM seen") == [("",)]
    sides.target("DROP FUNCTION see() CASCADE")


def test_a_replaced_token_is_known_at_once_and_the_old_one_no_longer(sync, token_file, subs, key):
    sync.ask("POST", "/api/tasks", 201, whole(subs[0], key))
    assert os.stat(token_file).st_mode & 0o777 == 0o600
    old = dict(sync.headers)
    service_token.make(token_file)
    sync.headers["Authorization"] = f"Bearer {token_file.read_text().strip()}"
    sync.ask("POST", "/api/tasks", 201, whole(subs[0], key))
    for wrong in (old, {"Authorization": "Bearer guessed"}, {"Authorization": "Basic x"}):
        Client(sync.url, wrong).ask("POST", "/api/tasks", 401, whole(subs[0], key))
        Client(sync.url, wrong).ask("DELETE", f"/api/tasks/{key}", 401)


# Bad days


def test_the_app_waits_for_its_database_to_be_made_and_made_again(task_service_server, token_file, subs):
    name = "made_later"
    dsn = task_service_server.dsn(name, "task_service_admin")
    with served(TaskServiceApi(dsn, token_file).application()) as url:
        client = Client(url, {"X-User": subs[0]})
        client.ask("GET", "/health", 503)
        for _ in range(2):
            task_service_server.add_database(name, "task_service_admin")
            client.ask("GET", "/health", 503)  # no tables yet
            with psycopg.connect(dsn) as session:
                session.execute("CREATE TABLE tasks ()")
            until(lambda: client.http.get(f"{url}/health").status_code == 200)
            task_service_server.drop_database(name)
            client.ask("GET", "/health", 503)


def until(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def faults(client, **on):
    answer = client.http.put(f"{client.url}/lab/faults", json=on)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_faults_can_be_switched_on_and_off_while_the_app_runs(task_service):
    faults(task_service, error_rate=1)
    assert task_service.ask("GET", "/health", 500)["error"]
    faults(task_service, error_rate=0.5)
    statuses = {task_service.http.get(f"{task_service.url}/health").status_code for _ in range(40)}
    assert statuses == {200, 500}
    faults(task_service, latency_ms=150)
    began = time.monotonic()
    task_service.ask("GET", "/health")
    assert time.monotonic() - began > 0.14
    faults(task_service, garbage=True)
    answer = task_service.http.get(f"{task_service.url}/health")
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    faults(task_service, down=True)
    for path in ("/health", "/api/tasks"):
        with pytest.raises(httpx.RemoteProtocolError):
            task_service.ask("GET", path)
    assert faults(task_service) == {"error_rate": 0.0, "latency_ms": 0.0, "down": False, "garbage": False}
    task_service.ask("GET", "/health")


def test_every_answer_says_whose_it_is(laravel, task_service):
    for client, side in ((laravel, "laravel"), (task_service, "task_service")):
        for on in ({}, {"error_rate": 1}, {"garbage": True}):
            faults(client, **on)
            for path in ("/api/tasks", "/api/tasks/0", "/nowhere", "/health", "/lab/faults"):
                answer = client.http.get(f"{client.url}{path}", headers=client.headers)
                assert answer.headers.get_list("X-Served-By") == [side], path
        faults(client)


def test_a_fault_leaves_nothing_half_done(task_service):
    for on in ({"error_rate": 1}, {"garbage": True}, {"down": True}):
        faults(task_service, **on)
        try:
            task_service.http.post(
                f"{task_service.url}/api/tasks", json={"title": "spoilt"}, headers=task_service.headers
            )
        except httpx.RemoteProtocolError:
            assert "down" in on
    faults(task_service)
    assert "spoilt" not in {task["title"] for task in task_service.ask("GET", "/api/tasks")}


@pytest.mark.parametrize("body", [{"error_rate": 2}, {"latency_ms": -1}, {"down": 1}, {"oops": True}, [], "down"])
def test_a_fault_that_there_is_not_is_refused(task_service, body):
    assert task_service.http.put(f"{task_service.url}/lab/faults", json=body).status_code == 422
    task_service.ask("GET", "/health")
