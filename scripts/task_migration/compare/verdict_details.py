"""The details of a verdict: what a comparison found, as JSON for the journal, the report and the hourly check."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from task_migration import sql_files
from task_migration.compare import fingerprint
from task_migration.compare.comparison import Comparison
from task_migration.mapping.selector import KeySet
from task_migration.postgres import schema_drift
from task_migration.prepare.row_accounts import Account, counted, quarantine_by_kind
from task_migration.sync import change_log
from task_migration.sync.converge import Flow

SAMPLE_ROWS = 10
"""The plan compares the newest ten tasks."""
COUNTS = 8
"""How often rows are counted again while some are not accounted for."""
COUNT_PAUSE_SECONDS = 0.2


def verdict_details(flow: Flow, comparison: Comparison, signed_off: dict[str, str]) -> dict[str, Any]:
    """Counts every row, and returns what was found; JSON values only. ``signed_off`` is the inventory's, by kind."""
    accounts, tables = _account_for_rows(flow, comparison)
    return {
        "passed": False,
        "checked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_seconds": 0.0,
        "hash_form": comparison.form,
        "schema_fingerprint": schema_drift.schema_fingerprint(flow.origin, flow.destination),
        "change_log_length": change_log.length(flow.origin),
        "tables": tables,
        "differences": [
            {"table": d.table, "key": d.key, "kind": d.kind, "columns": list(d.columns)} for d in comparison.differences
        ],
        "quarantine": [
            {**group, "signed_off": signed_off.get(group["kind"])} for group in quarantine_by_kind(flow.destination)
        ],
        "comparisons": _comparisons_of_the_plan(flow, comparison, accounts),
    }


def row_reasons(details: dict[str, Any]) -> list[str]:
    """Returns what is wrong with rows that were migrated or should have been, a few words each."""
    reasons = [
        f"{table}: " + ", ".join(f"{counts[kind]} {kind}" for kind in ("missing", "extra", "different") if counts[kind])
        for table, counts in details["tables"].items()
        if counts["missing"] or counts["extra"] or counts["different"]
    ]
    return reasons + [
        f"{table}: {counts['unaccounted']} rows unaccounted for"
        for table, counts in details["tables"].items()
        if counts["unaccounted"]
    ]


def red_reasons(details: dict[str, Any]) -> list[str]:
    """Returns why the verdict is red, a few words each; empty if it is green."""
    return row_reasons(details) + [
        f"{group['count']} rows in quarantine as {group['kind']}, not signed off"
        for group in details["quarantine"]
        if not group["signed_off"]
    ]


def _account_for_rows(flow: Flow, comparison: Comparison) -> tuple[dict[str, Account], dict[str, dict[str, int]]]:
    """Accounts for every row. Counts again if a row is on neither side and has no pending change.

    A write that was captured before the first count and committed after it may have been synced since; then neither the
    count nor the log knows of it.
    """
    for number in range(COUNTS):
        if number:
            time.sleep(COUNT_PAUSE_SECONDS)
        accounts, pending = counted(flow.origin, flow.destination)
        tables = {
            table: _table_counts(comparison.tables[table], account, pending[table])
            for table, account in accounts.items()
        }
        if not any(counts["unaccounted"] for counts in tables.values()):
            break
    return accounts, tables


def _table_counts(compared: fingerprint.TableComparison, account: Account, pending: int) -> dict[str, int]:
    kinds = list(compared.differing.values())
    missing, extra = kinds.count("missing"), kinds.count("extra")
    left_over = account.in_flight - missing + extra
    explained = abs(left_over) <= pending
    return {
        "expected": account.expected,
        "copied": account.copied,
        "quarantined": account.quarantined,
        "in_flight": left_over if explained else 0,
        "unaccounted": 0 if explained else left_over,
        "missing": missing,
        "extra": extra,
        "different": kinds.count("different"),
        "laravel_rows": compared.laravel_rows,
        "task_service_rows": compared.task_service_rows,
    }


def _comparisons_of_the_plan(flow: Flow, comparison: Comparison, accounts: dict[str, Account]) -> dict[str, Any]:
    """The plan's three comparisons: the counts, the newest ten rows, and the tags. Tags are compared in every task,
    where the plan compares ten.

    The plan names tasks; for another service this is the table that the others belong to, and its tags if it has any.
    """
    shape = next(shape for shape in flow.shapes if shape.mapping.parent is None)
    table = shape.mapping.table
    statement = sql_files.statement("compare/verify.sql", "newest rows", candidates=shape.mapping.candidates())
    newest = [key for (key,) in flow.origin.execute(statement, {"rows": SAMPLE_ROWS})]
    unequal = fingerprint.differing_rows(flow, shape, newest, comparison.form)
    account = accounts[table]
    found: dict[str, Any] = {
        "counts": {
            "laravel": account.expected,
            "task_service": account.copied,
            "quarantined": account.quarantined,
            "equal": account.expected == account.copied + account.quarantined,
        },
        "sample": {"rows": len(newest), "equal": len(KeySet.of(newest).keys) - len(unequal)},
    }
    if any(column.name == "tags" for column in shape.columns):
        rows = comparison.tables[table]
        both = rows.laravel_rows - list(rows.differing.values()).count("missing")
        other_tags = sum("tags" in d.columns for d in comparison.differences if d.table == table)
        found["tags"] = {"tasks": both, "equal": both - other_tags}
    return found
