"""Whatever Laravel's rows hold, they arrive as an oracle that knows nothing of the mapping says, or are held back."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import psycopg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sides import BUCKET, Sides
from task_migration.compare.comparison import differences
from task_migration.postgres.database import connect, laravel, task_service
from task_migration.sync import drain
from task_migration.sync.converge import forward_flow

ZONES = ("America/New_York", "Asia/Tokyo")
SUBS = {1: "sub-1", 2: "sub-2 of '\"\\ user", 3: None}
GREATEST_INTEGER = 2**31 - 1
_NASTY = (
    "", " ", "\\N", "\\.", "\\u0000", "\\x00", "\t", "\n", "\r\n", "a\tb\nc\\d", "'", '"', "''\"\"", "NULL", "null",
    "{}", "[]", "%", "%s", "%(x)s", "$1", "😀" * 255, "e\u0301", "é", "👩🏽‍💻", "\u202egnp.exe", "\ufeff", "\uffff",
    "\x7f", "\x01", "あ" * 255, "x" * 255, "ß", "İ", "/a//b/", "a b+c#?&=%20~.png", "\U0010ffff", "-- name: rows",
    "{rows}",
)  # fmt: skip
_TEXT = st.one_of(
    st.sampled_from(_NASTY),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=255),
)
_AT_A_CHANGE = st.builds(
    lambda moment, microsecond: moment.replace(microsecond=microsecond),
    st.sampled_from(
        [
            datetime(2025, 3, 9, 2, 0),  # skipped in New York
            datetime(2025, 3, 9, 2, 30),
            datetime(2025, 3, 9, 3, 0),
            datetime(2025, 11, 2, 0, 59, 59),
            datetime(2025, 11, 2, 1, 0),  # twice in New York
            datetime(2025, 11, 2, 1, 59, 59),
            datetime(2025, 11, 2, 2, 0),
            datetime(1900, 1, 1),
            datetime(2999, 12, 31, 23, 59, 59),
            datetime(2100, 7, 1),
        ]
    ),
    st.integers(0, 999_999),
)
_TIME = st.one_of(_AT_A_CHANGE, st.datetimes(datetime(1900, 1, 1), datetime(2999, 12, 31)))
_KEY = st.one_of(st.sampled_from([1, 2, GREATEST_INTEGER, 2**31, 2**31 + 1, 2**62]), st.integers(1, 5000))
_FLAG = st.sampled_from([None, True, False])
_USER = st.sampled_from(sorted(SUBS))
_TAGS = st.lists(_TEXT, max_size=5)
_TASK = st.fixed_dictionaries(
    {
        "user_id": _USER,
        "title": _TEXT,
        "description": st.one_of(st.none(), _TEXT),
        "priority": st.one_of(st.none(), st.integers(1, 5), st.integers(-(2**15), 2**15 - 1)),
        "group_task_id": st.one_of(st.none(), st.uuids()),
        "reward": st.one_of(st.none(), st.integers(-(2**31), GREATEST_INTEGER)),
        "requires_approval": _FLAG,
        "requires_image": _FLAG,
        "is_completed": _FLAG,
        "assigned_by_user_id": st.one_of(st.none(), _USER),
        "approved_by_user_id": st.one_of(st.none(), _USER),
        "approved_at": st.one_of(st.none(), _TIME),
        "completed_at": st.one_of(st.none(), _TIME),
        "created_at": _TIME,
        "updated_at": _TIME,
        "deleted_at": st.one_of(st.none(), st.none(), st.none(), _TIME),
        "tags": st.sets(st.integers(0, 4), max_size=5),
    }
)
_IMAGE = st.fixed_dictionaries(
    {"task": st.integers(0, 5), "file_path": _TEXT, "created_at": _TIME, "updated_at": _TIME}
)


def test_hostile_rows_arrive_as_the_oracle_says_or_are_held_back(sides: Sides) -> None:
    with psycopg.connect(sides.laravel_owner_dsn, autocommit=True) as application:
        application.execute("DELETE FROM task_executions")
        for user, sub in SUBS.items():
            application.execute("UPDATE users SET cognito_sub = %s WHERE id = %s", (sub, user))

        @settings(
            max_examples=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        )
        @given(
            zone=st.sampled_from(ZONES),
            tasks=st.dictionaries(_KEY, _TASK, min_size=1, max_size=6),
            images=st.dictionaries(_KEY, _IMAGE, max_size=4),
            tags=_TAGS,
        )
        def carried(zone: str, tasks: dict[int, Any], images: dict[int, Any], tags: list[str]) -> None:
            for number, key in enumerate(list(tasks)):
                tasks[key]["tags"] = {tag for tag in tasks[key]["tags"] if tag < len(tags)}
                for image in images.values():
                    if image["task"] % len(tasks) == number:
                        image["task_id"] = key
            application.execute("DELETE FROM tasks")
            sides.drain()  # an id that goes to another user without a deletion in between is held back
            _write(application, tasks, images, tags)
            drain.drain(**{**sides.both, "laravel_timezone": zone})
            _compare(sides, zone)
            _hold_against_the_oracle(sides, ZoneInfo(zone), tasks, images, tags)

        carried()


def _write(
    application: psycopg.Connection[Any], tasks: dict[int, Any], images: dict[int, Any], tags: list[str]
) -> None:
    with application.transaction():
        application.execute("DELETE FROM tasks")
        application.execute("DELETE FROM tags")
        for number, name in enumerate(tags):
            application.execute("INSERT INTO tags (id, name) VALUES (%s, %s)", (number + 1, name))
        for key, task in tasks.items():
            columns = {"id": key, **{name: value for name, value in task.items() if name != "tags"}}
            application.execute(
                f"INSERT INTO tasks ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})",
                list(columns.values()),
            )
            for tag in task["tags"]:
                application.execute("INSERT INTO task_tag (task_id, tag_id) VALUES (%s, %s)", (key, tag + 1))
        for key, image in images.items():
            application.execute(
                "INSERT INTO task_images (id, task_id, file_path, created_at, updated_at) VALUES (%s, %s, %s, %s, %s)",
                (key, image["task_id"], image["file_path"], image["created_at"], image["updated_at"]),
            )


def _compare(sides: Sides, zone: str) -> None:
    origin_side = laravel(sides.laravel_dsn, timezone=zone, s3_bucket=BUCKET)
    with connect(origin_side, "test") as origin, connect(task_service(sides.task_service_dsn), "test") as destination:
        assert differences(forward_flow(origin, destination)).differences == ()


def _hold_against_the_oracle(
    sides: Sides, zone: ZoneInfo, tasks: dict[int, Any], images: dict[int, Any], tags: list[str]
) -> None:
    def at(naive: datetime | None) -> datetime | None:
        """As PostgreSQL reads local time: a skipped hour by the clock before the change, a repeated one as after it."""
        if naive is None:
            return None
        first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        repeated = first.utcoffset() > second.utcoffset()  # type: ignore[operator]
        return datetime.fromtimestamp(0, ZoneInfo("UTC")) + (
            (second if repeated else first) - datetime.fromtimestamp(0, ZoneInfo("UTC"))
        )

    expected: dict[str, dict[int, Any]] = {"tasks": {}, "task_images": {}, "task_approvals": {}, "group_tasks": {}}
    held_back: set[tuple[str, int]] = set()
    for key, task in tasks.items():
        if task["deleted_at"] is not None:
            continue
        fits = SUBS[task["user_id"]] and task["priority"] in (None, 1, 2, 3, 4, 5) and key <= GREATEST_INTEGER
        if fits:
            expected["tasks"][key] = (
                SUBS[task["user_id"]],
                task["title"],
                task["description"],
                3 if task["priority"] is None else task["priority"],
                "approved" if task["approved_at"] else "completed" if task["is_completed"] else "pending",
                at(task["completed_at"]),
                at(task["approved_at"]),
                SUBS.get(task["approved_by_user_id"]),
                sorted({tags[tag] for tag in task["tags"]}),
                at(task["created_at"]),
                at(task["updated_at"]),
            )
        else:
            held_back.add(("tasks", key))
        if task["group_task_id"] is not None:
            if fits:
                expected["group_tasks"][key] = (
                    task["group_task_id"],
                    task["reward"],
                    task["requires_approval"],
                    task["requires_image"],
                    at(task["created_at"]),
                    at(task["updated_at"]),
                )
            else:
                held_back.add(("group_tasks", key))
        if task["approved_at"] is not None or (task["is_completed"] and task["requires_approval"]):
            by = task["approved_by_user_id"] if task["approved_at"] is not None else task["assigned_by_user_id"]
            if fits and SUBS.get(by):
                expected["task_approvals"][key] = (
                    SUBS[by],
                    "approved" if task["approved_at"] is not None else "pending",
                    at(task["approved_at"]),
                    at(task["approved_at"] or task["completed_at"] or task["updated_at"]),
                    at(task["updated_at"]),
                )
            else:
                held_back.add(("task_approvals", key))
    for key, image in images.items():
        parent = image["task_id"]
        if tasks[parent]["deleted_at"] is not None:
            continue
        url = f"https://{BUCKET}.s3.amazonaws.com/" + quote(image["file_path"], safe="/~")
        if parent in expected["tasks"] and len(url) <= 1000 and key <= GREATEST_INTEGER:
            expected["task_images"][key] = (
                parent,
                image["file_path"],
                url,
                SUBS[tasks[parent]["user_id"]],
                at(image["created_at"]),
                at(image["updated_at"]),
            )
        else:
            held_back.add(("task_images", key))
    columns = {
        "tasks": "id, user_id, title, description, difficulty, status::text, completed_at, approved_at, approved_by,"
        " tags, created_at, updated_at",
        "group_tasks": "task_id, group_id, reward, requires_approval, requires_image, created_at, updated_at",
        "task_approvals": "task_id, approver_id, status::text, approved_at, created_at, updated_at",
        "task_images": "id, task_id, s3_key, s3_url, uploaded_by, created_at, updated_at",
    }
    with psycopg.connect(sides.task_service_dsn, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table, wanted in columns.items():
            found = {row[0]: row[1:] for row in connection.execute(f"SELECT {wanted} FROM {table}")}
            assert found == expected[table]
        quarantined = connection.execute("SELECT table_name, key FROM task_migration.quarantine WHERE held_back")
        assert set(quarantined) == held_back
