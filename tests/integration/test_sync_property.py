"""Whatever both applications do, and wherever a worker dies, nothing is lost, nothing doubled, nothing resurrected.

TASK_MIGRATION_EXAMPLES=500 looks longer than the usual run does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Literal

import psycopg
import pytest
from acknowledged import SideName, Superseded
from application import Session, World
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st
from interrupted import Interruptions, Killed, Moment
from lab.locations import TASK_SERVICE_OWNER
from lab.servers import laravel_tables as lab_laravel
from sides import Sides
from task_migration.compare.comparison import differences
from task_migration.control import sync_switch
from task_migration.postgres import database
from task_migration.sync import batch, capture, change_log, sync_worker
from task_migration.sync.converge import forward_flow
from task_migration.sync.drain import drain_all
from task_migration.sync.sync_worker import SyncSettings, SyncWorker

EXAMPLES = int(os.environ.get("TASK_MIGRATION_EXAMPLES", "25"))
NAME = "of_the_sync"
KINDS = (
    "create", "title", "description", "difficulty", "status", "delete", "delete", "restore", "tag", "tag", "rename",
    "rename", "image", "image", "group",
)  # fmt: skip
"""Twice what most has been found with."""
CONFLICTS = """
    SELECT winner, unit, key, superseded,
           extract(epoch FROM CASE winner WHEN 'laravel' THEN laravel_at ELSE task_service_at END)::float8
    FROM task_migration.conflict"""
WORKERS = ("forward", "forward", "backward")


@dataclass(frozen=True)
class Write:
    side: SideName
    session: int
    kind: str
    which: int
    number: int
    stays_open: bool


@dataclass(frozen=True)
class End:
    side: SideName
    session: int
    commit: bool


@dataclass(frozen=True)
class Step:
    """One batch of one worker; ``then`` happens in the middle of it: a write, another worker's batch, or its death."""

    worker: int
    moment: Moment = 0
    then: Write | End | Step | Literal["death"] | None = None


def _first(side: SideName, kind: str) -> Write:
    """One write of the first task."""
    return Write(side, 0, kind, 0, 0, False)


_side = st.sampled_from(("laravel", "task_service"))
_write = st.builds(
    Write,
    _side,
    st.integers(0, 1),
    st.sampled_from(KINDS),
    st.sampled_from((0, 0, 0, 0, 1, 2, 3)),
    st.integers(0, 4),
    st.sampled_from((False, False, True)),
)
_end = st.builds(End, _side, st.integers(0, 1), st.booleans())
_worker = st.integers(0, 2)
_moment = st.one_of(
    st.integers(1, 25), st.sampled_from(("before the commits", "between the commits", "after the commits"))
)
_plain_step = st.builds(Step, _worker)
_then = st.one_of(st.just("death"), st.just("death"), _write, _write, _end, _plain_step)
_step = st.builds(Step, _worker, _moment, _then)
ACTS = st.lists(st.one_of(_write, _write, _write, _write, _end, _plain_step, _step, _step), min_size=12, max_size=60)


here, there = partial(_first, "laravel"), partial(_first, "task_service")


class Ground:
    """The databases and the workers of all examples: two workers of one direction and one of the other."""

    def __init__(self, sides: Sides, owners: dict[SideName, str]) -> None:
        self.sides, self.owners = sides, owners
        self._workers = [SyncWorker(SyncSettings.from_dict(sides.both), direction) for direction in WORKERS]
        self._connected = [False for _ in WORKERS]

    def __repr__(self) -> str:
        return "Ground()"

    def worker(self, number: int) -> SyncWorker:
        """Connected, whatever became of it."""
        if not self._connected[number]:
            self._workers[number].connect()
            self._connected[number] = True
        return self._workers[number]

    def kill(self, number: int) -> None:
        self._connected[number] = False
        self._workers[number].close()

    def step(self, number: int) -> int:
        """One batch of one worker; gives how many entries were settled."""
        with suppress(Killed):
            return self.worker(number).step().entries
        return 0

    def settle(self) -> None:
        """Steps all workers until none finds anything to do."""
        idle = 0
        for _ in range(300):
            idle = 0 if sum(self.step(number) for number in (2, 0, 1)) else idle + 1
            if idle == 2:
                return
        raise AssertionError("the two directions do not come to rest")

    def close(self) -> None:
        for number in range(len(WORKERS)):
            self.kill(number)

    def run(self, side: SideName, statement: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.owners[side], autocommit=True) as connection:
            connection.execute("SET task_migration.origin = 'sync'; SET TimeZone = 'UTC'")
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def clear(self) -> None:
        """Whatever an example wrote."""
        for side in self.owners:
            self.run(side, "TRUNCATE task_migration.change_log, task_migration.conflict")
        mine = "SELECT id FROM tasks WHERE title LIKE 'acknowledged %'"
        self.run("laravel", f"DELETE FROM task_migration.quarantine; DELETE FROM tasks WHERE id IN ({mine})")
        self.run("laravel", "DELETE FROM tags WHERE name LIKE 'acknowledged %'")
        for table in ("task_images", "task_approvals", "group_tasks"):
            self.run("task_service", f"DELETE FROM {table} WHERE task_id IN ({mine})")
        self.run("task_service", "DELETE FROM tasks WHERE title LIKE 'acknowledged %'")


class Running:
    """Both applications and all workers, in one thread."""

    def __init__(self, ground: Ground, world: World, interruptions: Interruptions) -> None:
        self._ground, self._interruptions = ground, interruptions
        self._sessions = {
            (side, number): Session(world, side, dsn) for side, dsn in ground.owners.items() for number in range(2)
        }

    def do(self, act: Write | End | Step) -> None:
        if isinstance(act, Write):
            if act.kind == "rename" and any(one.holds_tags for one in self._sessions.values()):
                return  # the oracle could not tell by which name an attached tag was meant
            stays_open = act.stays_open and act.kind != "rename"
            self._sessions[act.side, act.session].write(act.kind, act.which, act.number, stays_open)
        elif isinstance(act, End):
            self._sessions[act.side, act.session].end(commit=act.commit)
        elif act.then is None:
            self._ground.step(act.worker)
        elif not (isinstance(act.then, Step) and act.then.worker == act.worker):  # one worker does one thing at a time
            self._ground.worker(act.worker)
            with self._interruptions.at(act.moment, partial(self._interrupt, act.worker, act.then)):
                self._ground.step(act.worker)

    def _interrupt(self, number: int, then: Write | End | Step | Literal["death"]) -> None:
        if then != "death":
            self.do(then)
            return
        event("a worker died")
        self._ground.kill(number)
        raise Killed

    def end(self) -> None:
        """What is open is committed, and carried."""
        for session in self._sessions.values():
            session.end(commit=True)
        self._ground.settle()

    def close(self) -> None:
        for session in self._sessions.values():
            session.connection.close()


@pytest.fixture(scope="module")
def ground(laravel_server, laravel_template, task_service_server, tmp_path_factory) -> Iterator[Ground]:
    laravel_server.add_database(NAME, lab_laravel.APPLICATION, template=laravel_template(lab_laravel.FEWEST_TASKS))
    task_service_server.add_database(NAME, TASK_SERVICE_OWNER)
    sides = Sides(
        laravel_server.dsn(NAME, lab_laravel.MIGRATOR),
        laravel_server.dsn(NAME, lab_laravel.APPLICATION),
        task_service_server.dsn(NAME, TASK_SERVICE_OWNER),
        tmp_path_factory.mktemp("reports"),
    )
    sides.prepare()
    sides.copy()
    capture.capture(laravel_dsn="", task_service_dsn=sides.task_service_dsn, side="task_service", check=False)
    for name in ("sync_forward", "sync_backward"):
        sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name=name, state="on")
    sides.drain()
    made = Ground(sides, {"laravel": laravel_server.dsn(NAME), "task_service": task_service_server.dsn(NAME)})
    yield made
    made.close()
    laravel_server.drop_database(NAME)
    task_service_server.drop_database(NAME)


def ready(ground: Ground) -> World:
    """The world of one example: two tasks of Laravel's, one with an image and two tags, and one that was born in the
    Task Service, carried to both sides."""
    ground.clear()
    world = World(dict(ground.run("laravel", "SELECT id, cognito_sub FROM users WHERE cognito_sub IS NOT NULL")))
    for _ in range(2):
        name = world.text()
        ((tag,),) = ground.run("laravel", "INSERT INTO tags (name) VALUES (%s) RETURNING id", name)
        world.tags[tag] = name
        world.names.append(name)
    session = Session(world, "laravel", ground.owners["laravel"])
    for kind, number in (("create", 0), ("image", 0), ("tag", 0), ("tag", 1), ("create", 0)):
        session.write(kind, 0, number, False)
    session.connection.close()
    session = Session(world, "task_service", ground.owners["task_service"])
    session.write("create", 0, 0, False)
    session.connection.close()
    ground.settle()
    return world


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
@given(acts=ACTS, entries=st.sampled_from((2, 1000)))
@example(acts=[there("title"), here("rename"), Step(2)], entries=1000).via("a renamed tag was detached")
@example(acts=[here("delete"), there("image"), Step(0)], entries=1000).via("an image went with its task")
@example(acts=[there("delete"), here("title"), Step(0)], entries=1000).via("a task came back without its images")
@example(acts=[here("delete"), there("title"), Step(0)], entries=1000).via(
    "images stayed away from a task that came back"
)
def test_no_acknowledged_write_is_lost_doubled_or_undone(ground: Ground, acts: list[Any], entries: int) -> None:
    world = ready(ground)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sync_worker, "batch", partial(batch.batch, entries=entries))
        patch.setattr(change_log, "lock_lanes", partial(_impatient, change_log.lock_lanes))
        running = Running(ground, world, Interruptions(patch))
        try:
            for act in acts:
                running.do(act)
            running.end()
        except BaseException:
            ground.close()
            raise
        finally:
            running.close()
    hold(ground, world)


def _impatient(lock_lanes: Any, connection: database.Connection, lanes: Any, *, wait: bool) -> Any:
    """A batch waits for a row as long as this test has time to."""
    asked = lock_lanes(connection, lanes, wait=False)  # one thread plays all workers: it can't wait for itself
    connection.execute("SET LOCAL lock_timeout = '25ms'")
    return asked


def hold(ground: Ground, world: World) -> None:
    """The laws, once everything has come to rest."""
    sides = ground.sides
    laravel = database.laravel(sides.laravel_dsn, timezone="Asia/Tokyo", s3_bucket="task-images")
    with (
        database.connect(laravel, "test") as origin,
        database.connect(database.task_service(sides.task_service_dsn), "test") as destination,
    ):
        flow = forward_flow(origin, destination)
        drain_all(flow)
        assert differences(flow, draining=flow).differences == ()
        assert change_log.length(origin) == change_log.length(destination) == 0
    there = {
        row.pop("id"): row
        for (row,) in ground.run(
            "task_service",
            "SELECT json_build_object('id', t.id, 'title', t.title, 'description', t.description,"
            " 'difficulty', t.difficulty, 'status', t.status, 'tags', t.tags, 'group', g.group_id, 'reward', g.reward)"
            " FROM tasks t LEFT JOIN group_tasks g ON g.task_id = t.id WHERE t.title LIKE 'acknowledged %'",
        )
    }
    here = {
        row.pop("id"): row
        for (row,) in ground.run(
            "laravel",
            "SELECT json_build_object('id', t.id, 'title', t.title, 'description', t.description,"
            " 'difficulty', t.priority, 'status', CASE WHEN approved_at IS NOT NULL THEN 'approved'"
            " WHEN is_completed THEN 'completed' ELSE 'pending' END, 'group', t.group_task_id, 'reward', t.reward,"
            " 'tags', (SELECT coalesce(json_agg(g.name), '[]') FROM task_tag b JOIN tags g ON g.id = b.tag_id"
            " WHERE b.task_id = t.id), 'deleted', t.deleted_at) FROM tasks t WHERE t.title LIKE 'acknowledged %'",
        )
    }
    images = {
        side: {key for (key,) in ground.run(side, "SELECT id FROM task_images")} for side in ("laravel", "task_service")
    }
    living = {key for key, row in here.items() if row["deleted"] is None}
    assert there.keys() == living
    assert there.keys() | here.keys() <= set(world.tasks)

    def final(unit: str, key: int, name: str) -> Any:
        if unit == "task_images":
            return key in images["task_service" if world.task_of[key] in there else "laravel"]
        if name == "alive":
            return key in there
        row = there.get(key) or here.get(key)
        if row is None:
            return None
        if name.startswith("tag "):
            return name.removeprefix("tag ") in row["tags"]
        if name == "group":
            return row["group"] and (row["group"], row["reward"])
        if name == "status":
            return row["status"] if row["status"] in ("completed", "approved") else "pending"
        return row[name]

    # What is gone from Laravel for good, or goes with its task, need not have lost to a later write.
    conflicts = [
        Superseded(
            "task_service" if winner == "laravel" else "laravel",
            unit,
            key,
            entry["at"],
            inf if winner == "laravel" and (unit == "task_images" or key not in here) else to,
        )
        for side in ("laravel", "task_service")
        for winner, unit, key, entries, to in ground.run(side, CONFLICTS)
        for entry in entries
        if entry["at"] is not None
    ]
    event(f"conflicts: {min(len(conflicts), 5)}")
    for kind in sorted({write.unit + " " + write.field.split()[0] for write in world.acknowledged.writes}):
        event(f"wrote {kind}")

    def with_its_task(image: int) -> list[Any]:
        return [
            write
            for write in world.acknowledged.writes
            if write.unit == "tasks"
            and write.key == world.task_of[image]
            and write.field == "alive"
            and not write.value
        ]

    def bears(task: int, name: str) -> bool:
        """By this name, or by one that the tag was given later."""
        return final("tasks", task, f"tag {name}") or any(
            bears(task, new) for old, new, _ in world.renames if old == name
        )

    lost = world.acknowledged.lost(final, conflicts, with_its_task)
    assert [
        write
        for write in lost
        if not (write.field.startswith("tag ") and write.value and bears(write.key, write.field.removeprefix("tag ")))
    ] == []
