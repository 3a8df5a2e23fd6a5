"""Two sides for a test, and short ways to ask and to write on each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from task_migration.compare import reconcile, verify
from task_migration.outcome import Outcome
from task_migration.prepare import bulk_copy, id_ranges, schema, user_mapping
from task_migration.sync import capture, drain

TIME_ZONE = "Asia/Tokyo"
BUCKET = "task-images"
SIGNED_OFF = dict.fromkeys(
    ("owner_unmapped", "approver_unmapped", "priority_out_of_range", "task_held_back", "approval_without_approver"),
    "known to the test",
)


@dataclass(frozen=True)
class Sides:
    """Laravel's database with the lab's rows, and a Task Service's database."""

    laravel_dsn: str
    laravel_owner_dsn: str
    task_service_dsn: str
    reports: Path

    @property
    def both(self) -> dict[str, Any]:
        return {
            "laravel_dsn": self.laravel_dsn,
            "task_service_dsn": self.task_service_dsn,
            "laravel_timezone": TIME_ZONE,
            "s3_bucket": BUCKET,
        }

    def prepare(self) -> None:
        """All that comes before the copy."""
        schema.schema(
            task_service_dsn=self.task_service_dsn,
            schema_runner="sql",
            sequelize_directory="",
            title_policy="widen",
            id_policy="refuse",
            check=False,
        )
        user_mapping.user_mapping(laravel_dsn=self.laravel_dsn, check=False)
        capture.capture(laravel_dsn=self.laravel_dsn, check=False)
        id_ranges.id_ranges(
            laravel_dsn=self.laravel_dsn,
            task_service_dsn=self.task_service_dsn,
            task_service_id_offset=1_000_000_000,
            check=False,
        )

    def copy(self, **more: Any) -> Outcome:
        return bulk_copy.bulk_copy(**self.both, **more)

    def drain(self) -> Outcome:
        return drain.drain(**self.both)

    def verify(self, **more: Any) -> Outcome:
        return verify.verify(
            **self.both, **{"quarantine_signed_off": SIGNED_OFF, "report_directory": str(self.reports), **more}
        )

    def reconcile(self, **more: Any) -> Outcome:
        return reconcile.reconcile(**self.both, **more)

    def laravel(self, statement: str, *parameters: Any) -> list[Any]:
        """As Laravel's application, whose writes are captured."""
        return _run(self.laravel_owner_dsn, statement, parameters)

    def ours(self, statement: str, *parameters: Any) -> list[Any]:
        """On Laravel's database as the runbook's login."""
        return _run(self.laravel_dsn, statement, parameters)

    def target(self, statement: str, *parameters: Any) -> list[Any]:
        return _run(self.task_service_dsn, statement, parameters)

    def task(self, key: int, columns: str) -> Any:
        """Columns of one task in the Task Service; None if it is not there."""
        found = self.target(f"SELECT {columns} FROM tasks WHERE id = %s", key)
        return found[0] if found else None

    def held_back(self, kind: str) -> set[tuple[str, int]]:
        """Table and key of what is in quarantine for this reason."""
        return set(self.target("SELECT table_name, key FROM task_migration.quarantine WHERE kind = %s", kind))


def _run(dsn: str, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        cursor = connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []
