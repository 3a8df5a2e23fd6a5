"""Are both sides equal? Every column of every table, by fingerprints; and has every expected row a place?

What differs is looked at again after the change log was carried: only what stays different is a difference.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from task_migration import progress, sql_files
from task_migration.compare import consistency_report, fingerprint
from task_migration.control import journal, migration_tests, operator_lock
from task_migration.errors import Failed, Refused
from task_migration.mapping.selector import KeySet
from task_migration.outcome import Outcome
from task_migration.postgres import database, schema_drift
from task_migration.prepare import copy_ledger
from task_migration.prepare.row_accounts import Account, counted, quarantine_by_kind
from task_migration.sync import capture, change_log
from task_migration.sync.converge import Flow, forward_flow
from task_migration.sync.drain import carrier, drain_all, on_the_way
from task_migration.sync.table_shape import Shape

SAMPLE_ROWS = 10
"""The plan compares the newest ten tasks."""
LOOKS = 8
"""How often a differing key is looked at again while changes are on their way."""
SETTLED_LOOKS = 3
"""So many looks in a row must find a key differing and off the change log: a sync that runs meanwhile may have carried
it between a look at the rows and a look at the log, but not each time."""
LOOK_PAUSES = (0.0, 0.05, 0.1, 0.2)
"""Seconds before each look; the last one goes for all that follow."""
COUNT_PAUSE_SECONDS = 0.2
NAMED = 1000
"""So many differences are named one by one; all are counted and all are mended by reconcile."""


@dataclass(frozen=True)
class Difference:
    """One row that is not the same on both sides."""

    table: str
    key: int
    kind: fingerprint.Kind
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        columns = f": {', '.join(self.columns)}" if self.columns else ""
        return f"{self.table} {self.key} {self.kind}{columns}"


@dataclass(frozen=True)
class Comparison:
    """The whole of one comparison of both sides."""

    form: fingerprint.HashForm
    tables: dict[str, fingerprint.Compared]
    differences: tuple[Difference, ...]


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
    """Compares both sides, keeps the verdict for later gates and writes the consistency report.

    Green needs: no difference, expected = copied + quarantined, and for each kind of quarantine a reason in
    ``quarantine_signed_off``. Changes that are on the change log are carried first. In check mode nothing is carried,
    kept or written. Details: the report's. Raises Refused before a complete copy, Failed when the verdict is red.
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
        began = time.monotonic()
        flow = forward_flow(origin, destination)
        with operator_lock.mutating(laravel, "verify"), carrier(flow) as carrying:
            if not check:
                drain_all(carrying, listener)
            compared = differences(flow, carrying=None if check else carrying, listener=listener)
        details = details_of(flow, compared, quarantine_signed_off or {})
        details["duration_seconds"] = round(time.monotonic() - began, 3)
        reasons = red_because(details)
        details |= {"passed": not reasons, "reasons": reasons}
        lines = _lines(details)
        if check:
            return Outcome(False, f"verify: would be {'green' if not reasons else 'red'}", details, lines)
        journal.keep_verdict(origin, details)
        markdown, _ = consistency_report.consistency_report(details, report_directory)
        if reasons:
            raise Failed(
                f"the two sides are not proven equal: {'; '.join(reasons)}",
                measured="; ".join(map(_named, details["differences"][:10])) or "no difference in any row",
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


def require_copy(origin: database.Connection, destination: database.Connection) -> datetime:
    """When the copy was complete. Raises Refused unless it is, and every write is noted, and every column known."""
    capture.require(origin)
    schema_drift.require_known_columns(origin)
    finished = copy_ledger.finished_at(destination)
    if finished is None:
        raise Refused(
            "the copy is not complete, so there is nothing to compare yet",
            measured="no ledger, or ranges, indexes or foreign keys still to come",
            allowed="a complete copy",
            next_step="ansible-playbook phase-2.1-prepare.yml",
        )
    assert isinstance(finished, datetime)
    return finished


def differences(
    flow: Flow, *, carrying: Flow | None = None, listener: progress.Listener = progress.no_listener
) -> Comparison:
    """Compares every table, then looks again at what differs until no change on its way can explain it.

    ``carrying`` drains the change log between the looks; without it, keys that are on the log are left out.
    """
    form = fingerprint.hash_form(flow.origin, flow.destination)
    tables = {}
    found: list[Difference] = []
    for shape, compared in zip(flow.shapes, _compared(flow, form, listener), strict=True):
        differing = _settled(flow, shape, compared.differing, form, carrying)
        tables[shape.mapping.table] = fingerprint.Compared(compared.laravel_rows, compared.task_service_rows, differing)
        named = sorted(differing)[: NAMED - len(found)]
        columns = fingerprint.differing_columns(flow, shape, named)
        found += [Difference(shape.mapping.table, key, differing[key], tuple(columns.get(key, ()))) for key in named]
    return Comparison(form, tables, tuple(found))


def _compared(flow: Flow, form: fingerprint.HashForm, listener: progress.Listener) -> list[fingerprint.Compared]:
    """Every table compared, two at a time: on Laravel's side a pass is one busy process, and most servers have two."""
    rows: dict[str, int] = {}
    guard = threading.Lock()
    began = time.monotonic()

    def compare(shape: Shape) -> fingerprint.Compared:
        def heard(table: progress.Progress) -> None:
            with guard:
                rows[shape.mapping.table] = table.done
                listener(progress.Progress("comparing", sum(rows.values()), 0, "rows", time.monotonic() - began))

        own = lanes.get()
        try:
            return fingerprint.compare(own, shape, form, heard)
        finally:
            lanes.put(own)

    with (
        database.connect(flow.origin.side, "verify") as origin,
        database.connect(flow.destination.side, "verify") as destination,
        ThreadPoolExecutor(2) as pool,
    ):
        lanes: queue.SimpleQueue[Flow] = queue.SimpleQueue()
        for lane in (flow, Flow(origin, destination, flow.shapes)):
            lanes.put(lane)
        return list(pool.map(compare, flow.shapes))


def _settled(
    flow: Flow,
    shape: Shape,
    differing: dict[int, fingerprint.Kind],
    form: fingerprint.HashForm,
    carrying: Flow | None,
) -> dict[int, fingerprint.Kind]:
    """The keys that differ though no change of theirs is on its way.

    What is written again at each look is on the log at one of the last ones: it is carried later, and is no difference.
    """
    settled: Counter[int] = Counter()
    for look in range(LOOKS):
        if not differing or all(settled[key] >= SETTLED_LOOKS for key in differing):
            break
        if (
            carrying is None
            and look >= SETTLED_LOOKS
            and not any(0 < settled[key] < SETTLED_LOOKS for key in differing)
        ):
            break  # the rest has been on the log all along, and nobody carries it
        time.sleep(LOOK_PAUSES[min(look, len(LOOK_PAUSES) - 1)])
        if carrying is not None:
            drain_all(carrying)
        moving = _on_the_way(flow, shape)
        differing = fingerprint.look_again(flow, shape, differing, form)
        moving |= _on_the_way(flow, shape)
        settled = Counter({key: settled[key] + 1 for key in differing if key not in moving})
    refused = fingerprint.refused_keys(flow.destination, shape)
    return {key: kind for key, kind in differing.items() if settled[key] >= SETTLED_LOOKS and key not in refused}


def _on_the_way(flow: Flow, shape: Shape) -> set[int]:
    return on_the_way(flow.origin, flow.destination, shape.mapping)


def details_of(flow: Flow, compared: Comparison, signed_off: dict[str, str]) -> dict[str, Any]:
    """What a comparison found, for the verdict and the report: JSON values only."""
    kept, tables = _accounted(flow, compared)
    return {
        "passed": False,
        "checked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_seconds": 0.0,
        "hash_form": compared.form,
        "schema_fingerprint": schema_drift.schema_fingerprint(flow.origin, flow.destination),
        "change_log_length": change_log.length(flow.origin),
        "tables": tables,
        "differences": [
            {"table": d.table, "key": d.key, "kind": d.kind, "columns": list(d.columns)} for d in compared.differences
        ],
        "quarantine": [
            {**group, "signed_off": signed_off.get(group["kind"])} for group in quarantine_by_kind(flow.destination)
        ],
        "comparisons": _plans_comparisons(flow, compared, kept),
    }


def _accounted(flow: Flow, compared: Comparison) -> tuple[dict[str, Account], dict[str, dict[str, int]]]:
    """Every row's place. What no log explains is counted again: a write that was noted before the first count and
    committed after it may have been carried since, and then neither count nor log knows of it."""
    for look in range(LOOKS):
        if look:
            time.sleep(COUNT_PAUSE_SECONDS)
        kept, moving = counted(flow.origin, flow.destination)
        tables = {table: _table(compared.tables[table], account, moving[table]) for table, account in kept.items()}
        if not any(counts["unaccounted"] for counts in tables.values()):
            break
    return kept, tables


def _table(compared: fingerprint.Compared, account: Account, on_the_way: int) -> dict[str, int]:
    kinds = list(compared.differing.values())
    missing, extra = kinds.count("missing"), kinds.count("extra")
    left_over = account.in_flight - missing + extra
    explained = abs(left_over) <= on_the_way
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


def _plans_comparisons(flow: Flow, compared: Comparison, kept: dict[str, Account]) -> dict[str, Any]:
    """The plan's three: how many, the newest ten, the tags; the last over every task and not over ten.

    The plan speaks of tasks; of another service it is the table that the others belong to, and tags if it has any.
    """
    shape = next(shape for shape in flow.shapes if shape.mapping.parent is None)
    table = shape.mapping.table
    statement = sql_files.statement("compare/verify.sql", "newest rows", candidates=shape.mapping.candidates())
    newest = [key for (key,) in flow.origin.execute(statement, {"rows": SAMPLE_ROWS})]
    unequal = fingerprint.look_again(flow, shape, newest, compared.form)
    account = kept[table]
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
        rows = compared.tables[table]
        both = rows.laravel_rows - list(rows.differing.values()).count("missing")
        other_tags = sum("tags" in d.columns for d in compared.differences if d.table == table)
        found["tags"] = {"tasks": both, "equal": both - other_tags}
    return found


def rows_because(details: dict[str, Any]) -> list[str]:
    """What is wrong with rows that crossed or should have, a few words each."""
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


def red_because(details: dict[str, Any]) -> list[str]:
    """Why the verdict is red, a few words each; none if it is green."""
    return rows_because(details) + [
        f"{group['count']} rows in quarantine as {group['kind']}, not signed off"
        for group in details["quarantine"]
        if not group["signed_off"]
    ]


def _next_step(details: dict[str, Any], markdown: str) -> str:
    if details["differences"]:
        return f"ansible-playbook reconcile.yml mends the rows that differ; the report: {markdown}"
    kinds = ", ".join(f'"{group["kind"]}": "why"' for group in details["quarantine"] if not group["signed_off"])
    if kinds:
        return (
            "mend the rows in Laravel, or sign them off: ansible-playbook phase-2.2-verify.yml "
            f"-e '{{\"quarantine_signed_off\": {{{kinds}}}}}'; the report: {markdown}"
        )
    return f"the report: {markdown}"


def _named(difference: dict[str, Any]) -> str:
    return str(Difference(difference["table"], difference["key"], difference["kind"], tuple(difference["columns"])))


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
        *map(_named, details["differences"][:NAMED]),
    )
