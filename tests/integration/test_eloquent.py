"""Whatever Laravel's application writes by Eloquent is carried: soft deletes, pivots, bulk writes, cascades, rollbacks.

Each scenario has two forms. tests/eloquent/scenarios.php does the writes with the real Illuminate library, and
tests/eloquent/recorded/ holds the SQL that the library sent then, which runs on a machine without PHP, too. With PHP
the recorded SQL is held against what is sent now, so that it can't drift.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sides import Sides

ELOQUENT = Path(__file__).resolve().parents[1] / "eloquent"
RECORDED = ELOQUENT / "recorded"
# As libpq calls them; the passfile's name is no secret, what is in it never leaves it.
LIBPQ = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
}
# write.php's clock, 12:34:56.789012 in Tokyo, as Eloquent writes it.
NOW = datetime(2025, 3, 4, 3, 34, 56, tzinfo=UTC)
A_MINUTE_LATER = datetime(2025, 3, 4, 3, 35, 56, tzinfo=UTC)


@dataclass(frozen=True)
class Expected:
    """``rows`` is what ``statement`` finds in the Task Service once the writes are carried."""

    statement: str
    rows: list[tuple[Any, ...]]


def tasks(columns: str, rows: dict[int, tuple[Any, ...] | None]) -> Expected:
    """Columns of tasks by key; None for a task that is not there."""
    there = [(key, *row) for key, row in sorted(rows.items()) if row is not None]
    return Expected(f"SELECT id, {columns} FROM tasks WHERE id IN ({', '.join(map(str, rows))}) ORDER BY id", there)


def titles(**rows: str | None) -> Expected:
    """Titles of tasks, ``t44="title"``; None for a task that is not there."""
    return tasks("title", {int(name[1:]): None if title is None else (title,) for name, title in rows.items()})


def tags(**rows: list[str]) -> Expected:
    return tasks("tags", {int(name[1:]): (names,) for name, names in rows.items()})


def sub_of(user: int) -> str:
    """The Cognito sub that the lab gave to the user, in SQL."""
    return f"md5('cognito sub of user {user}')::uuid::text"


def none_of(table: str, *keys: int) -> Expected:
    """No row of these tasks."""
    column = "id" if table == "tasks" else "task_id"
    return Expected(f"SELECT id FROM {table} WHERE {column} IN ({', '.join(map(str, keys))})", [])


# In the order in which they run, on one database.
SCENARIOS: dict[str, tuple[Expected, ...]] = {
    "create": (
        tasks(
            f"title, user_id = {sub_of(1)}, difficulty, status::text, created_at, updated_at",
            {151: ("新しいタスク", True, 2, "pending", NOW, NOW)},
        ),
        tags(t151=["home", "仕事"]),
        Expected(
            "SELECT s3_key, created_at FROM task_images WHERE task_id = 151 ORDER BY id",
            [("task_images/新/一.jpg", NOW), ("task_images/new/2.jpg", NOW)],
        ),
    ),
    "save": (
        tasks("title, description, updated_at", {44: ("saved once", "二行\n'quoted' \\ and back", NOW)}),
    ),
    "save_within_the_same_second": (tasks("title, updated_at", {44: ("saved twice", NOW)}),),
    "complete_and_approve": (
        tasks(
            f"status::text, completed_at, approved_at, approved_by = {sub_of(1)}",
            {20: ("pending", None, None, None), 26: ("approved", NOW, A_MINUTE_LATER, True)},
        ),
        Expected(
            "SELECT task_id, status::text, approved_at FROM task_approvals WHERE task_id IN (20, 26)",
            [(26, "approved", A_MINUTE_LATER)],
        ),
    ),
    "soft_delete": (
        none_of("tasks", 47, 50, 53),
        none_of("task_images", 47, 53),
        none_of("group_tasks", 47),
        none_of("task_approvals", 50),
    ),
    "restore": (
        tasks("tags, updated_at", {14: (["仕事"], NOW), 15: (["emoji 🏷️ 👨‍👩‍👧"], NOW)}),
        Expected("SELECT id FROM task_images WHERE task_id IN (14, 15) ORDER BY id", [(9,), (10,)]),
        Expected("SELECT task_id, reward FROM group_tasks WHERE task_id IN (14, 15)", [(15, 50)]),
    ),
    "force_delete": (none_of("tasks", 35, 57, 81), none_of("task_images", 57, 81), none_of("group_tasks", 57)),
    "touch": (tasks("updated_at", {21: (NOW,), 36: (NOW,)}),),
    "attach_and_detach": (tags(t2=[], t8=[], t36=["it's a \"quoted\" \\ tag, {with} [marks]", "仕事"]),),
    "sync": (
        tags(
            t2=["a tab\tand a newline\nin it", "emoji 🏷️ 👨‍👩‍👧"],
            t3=["home "],
            t4=["home "],
            t34=["emoji 🏷️ 👨‍👩‍👧", "home", "仕事"],
            t36=["Home", "it's a \"quoted\" \\ tag, {with} [marks]", "仕事"],
        ),
    ),
    "rename_a_tag": (
        Expected("SELECT count(*) > 0 FROM tasks WHERE tags ? '改名 🏷️'", [(True,)]),
        Expected("SELECT id FROM tasks WHERE tags ? 'タグ 12'", []),
    ),
    "delete_a_tag": (Expected("SELECT id FROM tasks WHERE tags ? 'タグ 13'", []),),
    "bulk_update": (
        tasks("difficulty, updated_at", {3: (5, NOW), 10: (5, NOW)}),
        tasks("title", {27: ("THE SAME GROUP, NO REWARD, FLAGS NULL !",), 34: ("HAS TWO TAGS OF THE SAME NAME !",)}),
    ),
    "bulk_delete_and_restore": (
        none_of("tasks", 59, 62, 65, 68, 71, 74, 77),
        none_of("task_images", 59, 65, 71, 77),
        none_of("group_tasks", 77),
        tasks("updated_at", {101: (NOW,), 121: (NOW,)}),
        Expected("SELECT count(*) FROM task_images WHERE task_id IN (101, 121)", [(2,)]),
    ),
    "increment": (
        tasks("difficulty", {12: (3,), 83: (5,), 84: None, 88: (3,)}),
        Expected(
            "SELECT key FROM task_migration.quarantine WHERE kind = 'priority_out_of_range' ORDER BY key",
            [(13,), (84,)],
        ),
        Expected("SELECT reward FROM group_tasks WHERE task_id = 87", [(750,)]),
        Expected("SELECT id FROM task_images WHERE task_id = 12", [(12,)]),
    ),
    "upsert": (
        titles(
            t86="upserted",
            t89="updateOrInsert",
            t5001="upserted, new",
            t5002="not ignored",
            t5003="updateOrInsert, new",
        ),
        Expected(
            "SELECT title FROM tasks WHERE title IN ('insertGetId', 'copy of upserted, new') ORDER BY title",
            [("copy of upserted, new",), ("insertGetId",)],
        ),
    ),
    "update_or_create": (
        titles(t90="updateOrCreate"),
        Expected(
            """SELECT title, difficulty FROM tasks
               WHERE title IN ('updateOrCreate, new', 'firstOrCreate', 'replicated') ORDER BY title COLLATE "C" """,
            [("firstOrCreate", 3), ("replicated", 1), ("updateOrCreate, new", 1)],
        ),
    ),
    "joined_update": (titles(t92="利用者 3", t93="joined"), tasks("difficulty", {5: (1,), 12: (1,), 19: (3,)})),
    "without_events": (
        titles(t95="without events", t96="saved quietly", t98="without timestamps", t99=None),
        Expected("SELECT updated_at < '2025-01-01' FROM tasks WHERE id = 98", [(True,)]),
    ),
    "inner_transaction_rolled_back": (
        titles(t102="outer", t105="outer again"),
        Expected("SELECT id FROM tasks WHERE title = 'inner'", []),
    ),
    "outer_transaction_rolled_back": (
        Expected("SELECT id FROM tasks WHERE title = 'never' OR tags ? 'never' OR user_id = 'never'", []),
        Expected("SELECT id FROM tasks WHERE id = 107", [(107,)]),
    ),
    "images": (
        Expected("SELECT s3_key FROM task_images WHERE task_id = 108", [("task_images/108 a.png",)]),
        Expected(
            "SELECT id, task_id FROM task_images WHERE id <= 6 ORDER BY id",
            [(1, 37), (3, 110), (4, 37)],
        ),
        Expected("SELECT s3_key FROM task_images WHERE id = 1", [("task_images/renamed.png",)]),
        tasks("updated_at", {110: (NOW,)}),
    ),
    "group": (
        none_of("group_tasks", 117),
        Expected(
            "SELECT task_id, reward FROM group_tasks WHERE task_id IN (26, 27, 111) ORDER BY task_id",
            [(26, 250), (27, 250), (111, 10)],
        ),
    ),
    "chunks": (
        Expected(f"SELECT DISTINCT title FROM tasks WHERE user_id = {sub_of(6)}", [("in chunks",)]),
        Expected(f"SELECT DISTINCT description FROM tasks WHERE user_id = {sub_of(2)}", [("lazily",)]),
    ),
    "raw": (titles(t114="by update", t116="by statement", t119="unprepared"),),
    "cognito_sub": (
        tasks("user_id, title", {16: ("sub-of-8", "owner has no Cognito sub")}),
        Expected("SELECT id FROM task_images WHERE task_id = 16", [(11,)]),
        Expected("SELECT reward FROM group_tasks WHERE task_id = 16", [(70,)]),
        Expected(f"SELECT id FROM tasks WHERE user_id = {sub_of(6)}", []),
        Expected("SELECT title FROM tasks WHERE user_id = 'sub-of-new'", [("hers",)]),
    ),
    "delete_a_user": (
        Expected(f"SELECT id FROM tasks WHERE user_id = {sub_of(7)}", []),
        Expected(f"SELECT id FROM tasks WHERE approved_by = {sub_of(7)}", []),
        none_of("task_images", 37),
    ),
    "truncate_and_begin_again": (
        Expected(
            "SELECT id, title, tags FROM tasks",
            [(1, "the first task again", ["it's a \"quoted\" \\ tag, {with} [marks]"])],
        ),
        Expected("SELECT id FROM task_images", []),
    ),
}  # fmt: skip
# What was rolled back is not captured: these keys of tasks are on the log, and nothing else.
CAPTURED = {"inner_transaction_rolled_back": {("tasks", 102), ("tasks", 105)}, "outer_transaction_rolled_back": set()}


def test_what_eloquent_writes_is_carried_and_is_what_was_recorded(
    copied: Sides, subtests: pytest.Subtests, tmp_path: Path
) -> None:
    if reason := why_no_eloquent():
        pytest.skip(reason)

    def by_eloquent(scenario: str) -> None:
        (tmp_path / f"{scenario}.sql").write_text(write(copied, scenario), encoding="utf-8")

    _every_scenario_is_carried(copied, subtests, by_eloquent)
    for scenario in SCENARIOS:
        with subtests.test(f"{scenario} as recorded"):
            sent, recorded = (folder / f"{scenario}.sql" for folder in (tmp_path, RECORDED))
            assert sent.read_text(encoding="utf-8") == recorded.read_text(encoding="utf-8"), (
                f"Eloquent sends something else now; if that is right: cp {sent} {recorded}"
            )


def test_the_recorded_sql_of_eloquent_is_carried(copied: Sides, subtests: pytest.Subtests) -> None:
    def by_recorded_sql(scenario: str) -> None:
        with psycopg.connect(copied.laravel_owner_dsn, autocommit=True) as application:
            for statement in (RECORDED / f"{scenario}.sql").read_text(encoding="utf-8").split(";\n")[:-1]:
                application.execute(statement.encode())

    _every_scenario_is_carried(copied, subtests, by_recorded_sql)


def test_every_scenario_is_recorded() -> None:
    assert {file.stem for file in RECORDED.glob("*.sql")} == SCENARIOS.keys()


def _every_scenario_is_carried(sides: Sides, subtests: pytest.Subtests, written: Callable[[str], None]) -> None:
    for scenario, expected in SCENARIOS.items():
        with subtests.test(scenario):
            written(scenario)
            if scenario in CAPTURED:
                assert set(sides.ours("SELECT part, key FROM task_migration.change_log")) == CAPTURED[scenario]
            sides.drain()
            for one in expected:
                assert sides.target(one.statement) == one.rows, one.statement
            verdict = sides.verify().details
            assert verdict["passed"], verdict["differences"]


def write(sides: Sides, scenario: str) -> str:
    """What Eloquent sent for this scenario, on Laravel's database as its application."""
    of_the_database = {
        LIBPQ[name]: str(value) for name, value in conninfo_to_dict(sides.laravel_owner_dsn).items() if name in LIBPQ
    }
    done = subprocess.run(
        ["php", ELOQUENT / "write.php", scenario],
        env={"PATH": os.environ["PATH"], **of_the_database},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def why_no_eloquent() -> str | None:
    """Why the real library can't be used on this machine; None if it can."""
    wanted = "apt-get install php-cli php-pgsql php-illuminate-database php-illuminate-events"
    if shutil.which("php") is None:
        return f"PHP is not installed: {wanted}"
    asked = """
        $files = ["Illuminate/Database/autoload.php", "Illuminate/Events/autoload.php"];
        exit(extension_loaded("pdo_pgsql") && array_filter($files, "stream_resolve_include_path") === $files ? 0 : 1);
    """
    found = subprocess.run(["php", "-r", asked], capture_output=True, timeout=60, check=False)
    return None if found.returncode == 0 else f"PHP is without pdo_pgsql or Illuminate: {wanted}"
