"""Reconciles the rows that differ, and only those: their keys are put on the change log, and the log is synced."""

from __future__ import annotations

from task_migration import progress
from task_migration.compare.comparison import differences
from task_migration.control import operator_lock
from task_migration.errors import Failed
from task_migration.outcome import Outcome
from task_migration.postgres import database, schema_drift
from task_migration.sync import capture, change_log
from task_migration.sync.converge import forward_flow
from task_migration.sync.drain import drain_all


def reconcile(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Finds the rows that differ, and writes them again to the Task Service as the mapping defines them.

    Details: ``differences`` found and ``reconciled``. Raises Refused without capture, Failed if a row still differs.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    task_service = database.task_service(task_service_dsn)
    with (
        database.translated_errors(laravel),
        database.connect(laravel, "reconcile") as origin,
        database.translated_errors(task_service),
        database.connect(task_service, "reconcile") as destination,
    ):
        capture.require(origin)
        schema_drift.require_known_columns(origin)
        flow = forward_flow(origin, destination)
        with operator_lock.mutating(laravel, "reconcile"):
            found = differences(flow, draining=None if check else flow, listener=listener)
            keys = {table: sorted(compared.differing) for table, compared in found.tables.items()}
            total = sum(map(len, keys.values()))
            lines = tuple(map(str, found.differences))
            if check or not total:
                verb = "they would be reconciled" if total else "nothing to do"
                return Outcome(total > 0, f"reconcile: {total} rows differ; {verb}", {"differences": total}, lines)
            for shape in flow.shapes:
                if keys[shape.mapping.table]:
                    mapping, differing = shape.mapping, keys[shape.mapping.table]
                    roots = change_log.task_ids_of(
                        origin, mapping.base_table, mapping.base_column, mapping.root_column, differing
                    )
                    change_log.put(origin, mapping.base_table, roots)
            drain_all(flow, listener)
            left = differences(flow, draining=flow, listener=listener)
    if left.differences:
        raise Failed(
            "rows still differ after they were written again",
            measured="; ".join(map(str, left.differences[:10])),
            allowed="0",
            next_step="compare these rows on both sides: another process may write to the Task Service's tables",
        )
    return Outcome(True, f"reconcile: {total} rows reconciled", {"differences": total, "reconciled": total}, lines)
