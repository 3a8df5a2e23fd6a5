"""The applications of both sides as they write: one session each time, whose transaction may be left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from acknowledged import Acknowledged, SideName, Write
from psycopg import errors as pg
from psycopg.types.json import Jsonb

OWNER, APPROVER = 3, 2
_STATUS = "CASE WHEN approved_at IS NOT NULL THEN 'approved' WHEN is_completed THEN 'completed' ELSE 'pending' END"
_REFUSED = (pg.LockNotAvailable, pg.DeadlockDetected, pg.IntegrityError)
"""The application is told that its transaction failed: nothing was acknowledged."""

Changes = list[tuple[str, int, str, Any, bool]]
"""unit, key, field, value, whether the row ends with it."""


@dataclass
class World:
    """What all sessions of a test know: its tasks, images, tags, and what was acknowledged."""

    subs: dict[int, str]
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    tasks: list[int] = field(default_factory=list)
    tags: dict[int, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    renames: list[tuple[str, str, float]] = field(default_factory=list)
    task_of: dict[int, int] = field(default_factory=dict)
    numbers: int = 0

    def text(self) -> str:
        """One that was never written before."""
        self.numbers += 1
        return f"acknowledged {self.numbers}"


class Session:
    """One connection of one side's application."""

    def __init__(self, world: World, side: SideName, dsn: str) -> None:
        self.world, self.side = world, side
        self.connection = psycopg.connect(dsn)
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET lock_timeout = '25ms'")
        self.connection.commit()
        self._made: list[Write] = []
        self._new: list[Callable[[], None]] = []
        self.holds_tags = False

    def ask(self, statement: str, *parameters: Any) -> list[Any]:
        cursor = self.connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def write(self, kind: str, which: int, number: int, stays_open: bool) -> None:
        """One write of an application; the transaction ends with it unless it ``stays_open``."""
        act = getattr(self, f"_{self.side}_{kind}")
        try:
            (seen,) = self.ask("SELECT coalesce(max(id), 0) FROM task_migration.change_log")[0]
            changes: Changes = act(self._task(which), number)
            self._made += self._timed(changes, seen)
        except _REFUSED:
            self.end(commit=False)
            return
        if not stays_open:
            self.end(commit=True)

    def end(self, *, commit: bool) -> None:
        """Ends what is open; what is committed is acknowledged."""
        made, new = self._made, self._new
        self._made, self._new, self.holds_tags = [], [], False
        if not commit:
            self.connection.rollback()
            return
        self.connection.commit()
        self.world.acknowledged.writes += made
        for one in new:
            one()

    def _task(self, which: int) -> int:
        return self.world.tasks[which % len(self.world.tasks)] if self.world.tasks else 0

    def _timed(self, changes: Changes, seen: int) -> list[Write]:
        """The changes with their times on the log: each must be on it."""
        entries = self.ask(
            "SELECT part, key, root, extract(epoch FROM changed_at)::float8 FROM task_migration.change_log"
            " WHERE xmin = pg_current_xact_id()::xid AND id > %s",
            seen,
        )
        writes = []
        for unit, key, name, value, ends in changes:
            own = [
                at
                for part, written, root, at in entries
                if (unit == "task_images" and part == "task_images" and written == key)
                or (unit == "tasks" and part != "task_images" and root == key)
            ]
            spread = [at for part, _, root, at in entries if part == "tags" and root is None and unit == "tasks"]
            assert own or spread, f"{self.side}'s write of {unit} {key} {name} is not on its log: {entries}"
            writes.append(Write(self.side, unit, key, name, value, max(own or spread), ends, not own))
        return writes

    # Laravel's application

    def _laravel_create(self, _: int, number: int) -> Changes:
        title = self.world.text()
        ((key,),) = self.ask(
            "INSERT INTO tasks (user_id, title, priority, created_at, updated_at)"
            " VALUES (%s, %s, %s, now(), now()) RETURNING id",
            OWNER, title, number + 1,
        )  # fmt: skip
        return self._born(key, title, number + 1)

    def _laravel_title(self, key: int, _: int) -> Changes:
        return self._laravel_set(key, "title", self.world.text())

    def _laravel_description(self, key: int, _: int) -> Changes:
        return self._laravel_set(key, "description", self.world.text())

    def _laravel_difficulty(self, key: int, number: int) -> Changes:
        found = self.ask(
            "UPDATE tasks SET priority = %s, updated_at = now() WHERE id = %s AND deleted_at IS NULL RETURNING id",
            number + 1, key,
        )  # fmt: skip
        return [("tasks", key, "difficulty", number + 1, False)] if found else []

    def _laravel_set(self, key: int, name: str, value: str) -> Changes:
        found = self.ask(
            f"UPDATE tasks SET {name} = %s, updated_at = now() WHERE id = %s AND deleted_at IS NULL RETURNING id",
            value, key,
        )  # fmt: skip
        return [("tasks", key, name, value, False)] if found else []

    def _laravel_status(self, key: int, number: int) -> Changes:
        what = (
            "is_completed = true, completed_at = now()",
            "is_completed = false, completed_at = NULL, approved_at = NULL, approved_by_user_id = NULL",
            f"is_completed = true, approved_at = now(), approved_by_user_id = {APPROVER}",
            "is_completed = false, completed_at = NULL",
            "approved_at = NULL, approved_by_user_id = NULL",
        )[number % 5]
        found = self.ask(
            f"UPDATE tasks SET {what}, updated_at = now() WHERE id = %s AND deleted_at IS NULL RETURNING {_STATUS}", key
        )
        return [("tasks", key, "status", found[0][0], False)] if found else []

    def _laravel_delete(self, key: int, number: int) -> Changes:
        if number < 4:
            found = self.ask(
                "UPDATE tasks SET deleted_at = now(), updated_at = now()"
                " WHERE id = %s AND deleted_at IS NULL RETURNING id",
                key,
            )
            return [("tasks", key, "alive", False, False)] if found else []
        if not self.ask("DELETE FROM tasks WHERE id = %s RETURNING id", key):
            return []
        return [("tasks", key, "alive", False, True)]

    def _laravel_restore(self, key: int, _: int) -> Changes:
        found = self.ask(
            "UPDATE tasks SET deleted_at = NULL, updated_at = now()"
            " WHERE id = %s AND deleted_at IS NOT NULL RETURNING id",
            key,
        )
        return [("tasks", key, "alive", True, False)] if found else []

    def _laravel_tag(self, key: int, number: int) -> Changes:
        """Toggles one, as ``attach`` and ``detach`` do."""
        tag = list(self.world.tags)[number % len(self.world.tags)]
        if not self.ask("SELECT id FROM tasks WHERE id = %s AND deleted_at IS NULL", key):
            return []
        self.holds_tags = True
        name = self.world.tags[tag]
        if self.ask("DELETE FROM task_tag WHERE task_id = %s AND tag_id = %s RETURNING 1", key, tag):
            return [("tasks", key, f"tag {name}", False, False)]
        self.ask("INSERT INTO task_tag (task_id, tag_id) VALUES (%s, %s)", key, tag)
        return [("tasks", key, f"tag {name}", True, False)]

    def _laravel_rename(self, _: int, number: int) -> Changes:
        tag = list(self.world.tags)[number % len(self.world.tags)]
        old, new = self.world.tags[tag], self.world.text()
        if not self.ask("UPDATE tags SET name = %s WHERE id = %s RETURNING id", new, tag):
            return []
        bearing = self.ask("SELECT task_id FROM task_tag WHERE tag_id = %s", tag)
        ((at,),) = self.ask("SELECT extract(epoch FROM clock_timestamp())::float8")

        def known() -> None:
            self.world.tags[tag] = new
            self.world.names.append(new)
            self.world.renames.append((old, new, at))

        self._new.append(known)
        return [
            ("tasks", task, f"tag {name}", borne, False)
            for (task,) in bearing
            for name, borne in ((old, False), (new, True))
        ]

    def _laravel_image(self, key: int, number: int) -> Changes:
        if not self.ask("SELECT id FROM tasks WHERE id = %s AND deleted_at IS NULL", key):
            return []
        if number % 2 == 0:
            ((image,),) = self.ask(
                "INSERT INTO task_images (task_id, file_path) VALUES (%s, %s) RETURNING id", key, self.world.text()
            )
            self.world.task_of[image] = key
            return [("task_images", image, "alive", True, False)]
        gone = self.ask(
            "DELETE FROM task_images WHERE id = (SELECT min(id) FROM task_images WHERE task_id = %s) RETURNING id", key
        )
        return [("task_images", image, "alive", False, True) for (image,) in gone]

    def _laravel_group(self, key: int, number: int) -> Changes:
        group = None if number == 0 else f"00000000-0000-4000-8000-{number:012}"
        reward = None if group is None else self._number()
        found = self.ask(
            "UPDATE tasks SET group_task_id = %s, reward = %s, updated_at = now()"
            " WHERE id = %s AND deleted_at IS NULL RETURNING id",
            group, reward, key,
        )  # fmt: skip
        return [("tasks", key, "group", group and (group, reward), False)] if found else []

    # the Task Service

    def _task_service_create(self, _: int, number: int) -> Changes:
        title = self.world.text()
        ((key,),) = self.ask(
            "INSERT INTO tasks (user_id, title, difficulty, created_at, updated_at)"
            " VALUES (%s, %s, %s, now(), now()) RETURNING id",
            self.world.subs[OWNER], title, number + 1,
        )  # fmt: skip
        return self._born(key, title, number + 1)

    def _task_service_set(self, key: int, what: str, *values: Any) -> list[Any]:
        return self.ask(f"UPDATE tasks SET {what}, updated_at = now() WHERE id = %s RETURNING id", *values, key)

    def _task_service_title(self, key: int, _: int) -> Changes:
        title = self.world.text()
        found = self._task_service_set(key, "title = %s", title)
        return [("tasks", key, "title", title, False)] if found else []

    def _task_service_description(self, key: int, _: int) -> Changes:
        text = self.world.text()
        found = self._task_service_set(key, "description = %s", text)
        return [("tasks", key, "description", text, False)] if found else []

    def _task_service_difficulty(self, key: int, number: int) -> Changes:
        found = self._task_service_set(key, "difficulty = %s", number + 1)
        return [("tasks", key, "difficulty", number + 1, False)] if found else []

    def _task_service_status(self, key: int, number: int) -> Changes:
        approver = self.world.subs[APPROVER]
        status = ("pending", "in_progress", "completed", "approved", "rejected")[number % 5]
        completed = "now()" if status in ("completed", "approved") else "NULL"
        approved = f"now(), approved_by = '{approver}'" if status == "approved" else "NULL, approved_by = NULL"
        what = f"status = '{status}', completed_at = {completed}, approved_at = {approved}"
        if not self._task_service_set(key, what):
            return []
        self.ask("DELETE FROM task_approvals WHERE task_id = %s", key)
        if status in ("approved", "rejected"):
            self.ask(
                "INSERT INTO task_approvals (task_id, approver_id, status, approved_at, created_at, updated_at)"
                f" VALUES (%s, %s, '{status}', now(), now(), now())",
                key, approver,
            )  # fmt: skip
        folded = status if status in ("completed", "approved") else "pending"
        return [("tasks", key, "status", folded, False)]

    def _task_service_delete(self, key: int, _: int) -> Changes:
        self.ask("SELECT id FROM tasks WHERE id = %s FOR UPDATE", key)
        self.ask("DELETE FROM task_images WHERE task_id = %s", key)
        self.ask("DELETE FROM group_tasks WHERE task_id = %s", key)
        self.ask("DELETE FROM task_approvals WHERE task_id = %s", key)
        if not self.ask("DELETE FROM tasks WHERE id = %s RETURNING id", key):
            return []
        return [("tasks", key, "alive", False, True)]

    def _task_service_restore(self, key: int, number: int) -> Changes:
        """It can't; it writes something else."""
        return self._task_service_status(key, number)

    def _task_service_rename(self, key: int, number: int) -> Changes:
        """It has no tags of its own; it writes something else."""
        return self._task_service_title(key, number)

    def _task_service_tag(self, key: int, number: int) -> Changes:
        found = self.ask("SELECT tags FROM tasks WHERE id = %s FOR UPDATE", key)
        if not found:
            return []
        name = self.world.names[number % len(self.world.names)]
        borne = name not in found[0][0]
        tags = [*found[0][0], name] if borne else [one for one in found[0][0] if one != name]
        self._task_service_set(key, "tags = %s", Jsonb(tags))
        return [("tasks", key, f"tag {name}", borne, False)]

    def _task_service_image(self, key: int, number: int) -> Changes:
        if not self.ask("SELECT id FROM tasks WHERE id = %s", key):
            return []
        if number % 2 == 0:
            ((image,),) = self.ask(
                "INSERT INTO task_images (task_id, s3_key, s3_url, uploaded_by, created_at, updated_at)"
                " VALUES (%s, %s, '', %s, now(), now()) RETURNING id",
                key, self.world.text(), self.world.subs[OWNER],
            )  # fmt: skip
            self.world.task_of[image] = key
            return [("task_images", image, "alive", True, False)]
        gone = self.ask(
            "DELETE FROM task_images WHERE id = (SELECT min(id) FROM task_images WHERE task_id = %s) RETURNING id", key
        )
        return [("task_images", image, "alive", False, True) for (image,) in gone]

    def _task_service_group(self, key: int, number: int) -> Changes:
        if not self.ask("SELECT id FROM tasks WHERE id = %s FOR UPDATE", key):
            return []
        if number == 0:
            found = self.ask("DELETE FROM group_tasks WHERE task_id = %s RETURNING id", key)
            return [("tasks", key, "group", None, False)] if found else []
        group, reward = f"00000000-0000-4000-8000-{number:012}", self._number()
        self.ask(
            "INSERT INTO group_tasks (group_id, task_id, reward, created_at, updated_at)"
            " VALUES (%s, %s, %s, now(), now())"
            " ON CONFLICT (task_id) DO UPDATE SET group_id = excluded.group_id, reward = excluded.reward",
            group, key, reward,
        )  # fmt: skip
        return [("tasks", key, "group", (group, reward), False)]

    def _born(self, key: int, title: str, difficulty: int) -> Changes:
        self._new.append(lambda: self.world.tasks.append(key))
        values = {"alive": True, "title": title, "difficulty": difficulty, "status": "pending", "group": None}
        return [("tasks", key, name, value, False) for name, value in values.items()]

    def _number(self) -> int:
        self.world.numbers += 1
        return self.world.numbers
