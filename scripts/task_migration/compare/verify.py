"""Verifies that both sides are equal and that every expected row is accounted for, and stores the verdict."""

from __future__ import annotations

import time
from typing import Any

from task_migration import progress
from task_migration.compare import consistency_report
from task_migration.compare.comparison import NAMED, Difference, differences, require_copy
from task_migration.compare.verdict_details import red_reasons, verdict_details
from task_migration.control import journal, migration_tests, operator_lock
from task_migration.errors import Failed
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.prepare import user_mapping
from task_migration.sync.converge import forward_flow
from task_migration.sync.drain import drain_all, writable


def verify(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    quarantine_signed_off: dict[str, str] | None = None,
    report_directory: str,
    check: bool = False,
    listener: progress.Listener = progress.no_listener,
) -> Outcome:
    """Compares both sides, stores the verdict for later gates and writes the consistency report.

    A green verdict needs: no difference, expected = copied + quarantined, and for each kind of quarantine a reason in
    ``quarantine_signed_off``. Pending changes are synced first. In check mode nothing is synced, stored or written.
    Details: the report's. Raises Refused before a complete copy, Failed when the verdict is red.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    task_service = database.task_service(task_service_dsn)
    with (
        database.translated_errors(laravel),
        database.connect(laravel, "verify") as origin,
        database.translated_errors(task_service),
        database.connect(task_service, "verify") as destination,
    ):
        copied_at = require_copy(origin, destination)
        # Only the owner may read Laravel's users.
        with database.for_purpose(origin, "user_mapping") as of_the_owner:
            user_mapping.require_complete(of_the_owner)
        started = time.monotonic()
        flow = forward_flow(origin, destination)
        with operator_lock.mutating(laravel, "verify"), writable(flow) as draining:
            if not check:
                drain_all(draining, listener)
            comparison = differences(flow, draining=None if check else draining, listener=listener)
        details = verdict_details(flow, comparison, quarantine_signed_off or {})
        details["duration_seconds"] = round(time.monotonic() - started, 3)
        reasons = red_reasons(details)
        details |= {"passed": not reasons, "reasons": reasons}
        lines = _lines(details)
        if check:
            return Outcome(False, f"verify: would be {'green' if not reasons else 'red'}", details, lines)
        journal.keep_verdict(origin, details)
        markdown, _ = consistency_report.consistency_report(details, report_directory)
        if reasons:
            raise Failed(
                f"the two sides are not proven equal: {'; '.join(reasons)}",
                measured="; ".join(map(_difference, details["differences"][:10])) or "no difference in any row",
                allowed="0 differences, every row accounted for, every kind of quarantine signed off",
                next_step=_next_step(details, str(markdown)),
            )
        migration_tests.record(report_directory, copied_at=copied_at, details=details)
    rows = sum(table["task_service_rows"] for table in details["tables"].values())
    return Outcome(
        False,
        f"verify: {rows} rows compared in {details['duration_seconds']:.1f} s, 0 differences; report: {markdown}",
        {**details, "report": str(markdown)},
        lines,
    )


def _next_step(details: dict[str, Any], markdown: str) -> str:
    if details["differences"]:
        return f"ansible-playbook reconcile.yml reconciles the rows that differ; the report: {markdown}"
    kinds = ", ".join(f'"{group["kind"]}": "why"' for group in details["quarantine"] if not group["signed_off"])
    if kinds:
        return (
            "fix the rows in Laravel, or sign them off: ansible-playbook phase-2.2-verify.yml "
            f"-e '{{\"quarantine_signed_off\": {{{kinds}}}}}'; the report: {markdown}"
        )
    return f"the report: {markdown}"


def _difference(one: dict[str, Any]) -> str:
    return str(Difference(one["table"], one["key"], one["kind"], tuple(one["columns"])))


def _lines(details: dict[str, Any]) -> tuple[str, ...]:
    comparisons = details["comparisons"]
    counts, sample, tags = comparisons["counts"], comparisons["sample"], comparisons.get("tags")
    return (
        *(
            f"{table}: expected {c['expected']} = copied {c['copied']} + quarantined {c['quarantined']} + in flight "
            f"{c['in_flight']}; missing {c['missing']}, extra {c['extra']}, different {c['different']}"
            for table, c in details["tables"].items()
        ),
        f"plan: record counts: Laravel {counts['laravel']}, Task Service {counts['task_service']}, "
        f"quarantined {counts['quarantined']}: {'accounted for' if counts['equal'] else 'NOT equal'}",
        f"plan: newest {sample['rows']} rows: {sample['equal']} equal",
        *([f"plan: tags: {tags['equal']} of {tags['tasks']} tasks equal"] if tags else []),
        *(
            f"quarantine: {group['count']} {group['kind']} ({', '.join(group['sample_keys'])}): "
            + (f"signed off: {group['signed_off']}" if group["signed_off"] else "NOT signed off")
            for group in details["quarantine"]
        ),
        *map(_difference, details["differences"][:NAMED]),
    )
