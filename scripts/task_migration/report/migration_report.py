"""Writes the migration report: everything that is known about the migration, on one HTML page and as JSON.

It may be written at any time, even before the first phase: what was not measured is shown as not measured. Its sessions
are read-only. The report holds keys, column names, hashes and counts, never the content of a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from psycopg.rows import dict_row

from task_migration import sql_files
from task_migration.control import checklist, journal, migration_tests
from task_migration.errors import MigrationError
from task_migration.external import atomic_file
from task_migration.external.aws import Aws
from task_migration.mapping import table_mapping
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.report import migration_page, page_charts, risks, status, success_criteria, sync_report, timeline
from task_migration.runtime import configuration, latency
from task_migration.traffic.stage import Gateway

_FILE = "report/migration_report.sql"
VERDICTS = 200
CHECKS = 50
POINTS = 240
"""The largest number of points in the chart of the sync's latency."""


def migration_report(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    migration_environment: str,
    report_language: Literal["en", "ja"] = "en",
    service_directory: str,
    quarantine_signed_off: Mapping[str, str] | None = None,
    report_directory: str,
    verdict_max_age_hours: float = 24,
    consistency_every_seconds: int = 3600,
    change_log_warn_entries: int = 100_000,
    sync_health_ports: Mapping[str, int] | None = None,
    gateway: Gateway,
    aws: Aws,
    schedule_begins: str = "",
    laravel_timezone: str,
    canary_confidence_percent: float = 95,
    check: bool = False,
) -> Outcome:
    """Writes migration-<UTC time>.<language>.html and .json, and both as migration-latest. In check mode it writes
    nothing.

    The parameters are those of ``status``, which it calls, and of ``sync_report``. Details: ``report`` and ``json``,
    the paths of both; ``complete``; ``checked`` and ``items`` of the checklist; ``criteria``, the state of each success
    criterion. Raises Refused if Laravel's database cannot be reached; the Task Service's may be missing.
    """
    present = status.status(
        laravel_dsn=laravel_dsn,
        task_service_dsn=task_service_dsn,
        report_directory=report_directory,
        verdict_max_age_hours=verdict_max_age_hours,
        consistency_every_seconds=consistency_every_seconds,
        change_log_warn_entries=change_log_warn_entries,
        sync_health_ports=sync_health_ports,
        gateway=gateway,
        aws=aws,
        schedule_begins=schedule_begins,
        laravel_timezone=laravel_timezone,
        canary_confidence_percent=canary_confidence_percent,
    ).details
    made_at = datetime.now(UTC).replace(microsecond=0)
    laravel, task_service = database.laravel(laravel_dsn), database.task_service(task_service_dsn)
    signed_off = sorted(quarantine_signed_off or {})
    with database.translated_errors(laravel), database.read_only(laravel, "report") as connection:
        entries = journal.entries(connection)
        verdict = journal.latest_verdict(connection)
        history = _history(connection)
        sides = {"laravel": sync_report.read_side(connection, signed_off)}
    if task_service_dsn and not present["task_service"]["trouble"]:
        try:
            with database.translated_errors(task_service), database.read_only(task_service, "report") as connection:
                sides["task_service"] = sync_report.read_side(connection, signed_off)
        except MigrationError as error:
            present["task_service"]["trouble"] = error.what
    items = [item for phase in present["phases"] for item in phase["items"]]
    sync = sync_report.sync_details(sides, _samples(Path(service_directory), entries), POINTS)
    details = {
        "made_at": made_at.isoformat(),
        "environment": migration_environment,
        "complete": all(one["state"] == "done" for one in present["phases"]) and all(one["done"] for one in items),
        "sides": {
            "laravel": laravel.address,
            "task_service": task_service.address if task_service_dsn else None,
        },
        "operators": sorted({entry.who for entry in entries}),
        "status": {**present, "phases": _with_names(present["phases"])},
        "runs": [one.as_dict() for one in timeline.phase_runs(entries, checklist.phase_of(present["running"] or ""))],
        "stood": _active_periods(entries),
        "weights": [one.as_dict() for one in timeline.weights(entries)],
        "accounting": _accounting(verdict, entries),
        "criteria": [one.as_dict() for one in success_criteria.judge(_success_facts(verdict, entries, sync))],
        "schedule": [one["schedule"] for one in present["phases"] if one["schedule"]],
        "risks": risks.judge(_risk_facts(verdict, entries, history["checks"], present["migration_tests"])),
        **history,
        "reconciled": [_plain(entry) for entry in entries if entry.item == "reconcile" and entry.result == "done"],
        "quarantine": verdict.summary.get("quarantine", []) if verdict else [],
        "sync": sync,
        "deliverables": _deliverables(Path(report_directory), Path(service_directory)),
        "journal": [_plain(entry) for entry in entries],
    }
    found = {
        "complete": details["complete"],
        "checked": sum(item["done"] for item in items),
        "items": len(items),
        "criteria": {one["id"]: one["state"] for one in details["criteria"]},
    }
    met = list(found["criteria"].values()).count("met")
    message = (
        f"report: {'complete' if details['complete'] else 'under way'}, {found['checked']} of {found['items']} items "
        f"checked, {met} of {len(found['criteria'])} success criteria met"
    )
    if check:
        return Outcome(False, message, {**found, "report": None, "json": None})
    name = f".{report_language}.html"
    page, machine = atomic_file.unused(Path(report_directory), "migration", made_at, name, ".json")
    texts = {
        page: migration_page.page(details, report_language),
        machine: json.dumps(details, ensure_ascii=False, indent=2) + "\n",
    }
    for path, text in texts.items():
        atomic_file.write(path, text)
        atomic_file.write(path.with_name(f"migration-latest{name if path is page else '.json'}"), text)
    return Outcome(False, f"{message}: {page}", {**found, "report": str(page), "json": str(machine)})


def _history(laravel: database.Connection) -> dict[str, Any]:
    """Returns ``verdicts``, oldest first; ``checks``, how many ran and how they ended; and ``failed_checks``."""
    exists = laravel.execute(sql_files.statement(_FILE, "tables exist")).fetchone()
    assert exists is not None

    def rows(name: str, most: int) -> list[dict[str, Any]]:
        with laravel.cursor(row_factory=dict_row) as cursor:
            return [_json(row) for row in cursor.execute(sql_files.statement(_FILE, name), {"most": most})]

    return {
        "verdicts": rows("verdicts", VERDICTS) if exists[0] else [],
        "checks": rows("checks", 1)[0] if exists[1] else None,
        "failed_checks": rows("checks that did not pass", CHECKS) if exists[1] else [],
    }


def _with_names(phases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = {phase.phase: {"ja": phase.ja, "en": phase.en} for phase in checklist.phases()}
    return [{**phase, **names[phase["phase"]]} for phase in phases]


def _active_periods(entries: Sequence[journal.JournalEntry]) -> list[dict[str, Any]]:
    """Returns when the result of each phase was active: ``phase``, ``since``, ``until`` (None: it still is)."""
    found: list[dict[str, Any]] = []
    rolled_back: dict[str, datetime | None] = {}
    for run in timeline.phase_runs(entries):
        before = rolled_back.get(run.phase, run.began)
        if run.result != "done" or run.ended is None or before is None or before > run.ended:
            continue  # it is active already
        if run.phase in {phase.phase for phase in checklist.phases()}:
            until = timeline.rolled_back_at(entries, run.phase, run.ended)
            rolled_back[run.phase] = until
            found.append({"phase": run.phase, "since": run.ended, "until": until})
    return [_json(one) for one in found]


def _accounting(verdict: journal.Verdict | None, entries: Sequence[journal.JournalEntry]) -> dict[str, Any] | None:
    """Returns the newest account of every table: the last verdict's, or the copy's if it is newer.

    ``by`` says which it is; ``tables`` have the counts, and in ``from`` the table of Laravel that the rows come from.
    """
    counts, by, at = None, "", None
    copied = [e for e in checklist.in_effect(entries) if e.phase == "2.1" and e.item == "phase" and e.result == "done"]
    if copied:
        evidence = copied[-1].evidence
        counts, by, at = evidence.get("tables", evidence), "copy", copied[-1].at
    if verdict is not None and verdict.summary.get("tables") and (at is None or verdict.at > at):
        counts, by, at = verdict.summary["tables"], "verdict", verdict.at
    bases = {one.table: one.base_table for one in table_mapping.mappings()}
    tables = {
        table: {"from": bases.get(table, ""), **{name: int(one.get(name, 0)) for name in page_charts.ACCOUNT}}
        for table, one in (counts or {}).items()
        if isinstance(one, Mapping) and "expected" in one and "copied" in one
    }
    if not tables or at is None:
        return None
    order = [*bases, *sorted(tables.keys() - bases.keys())]  # jsonb keeps no order
    return {
        "by": by,
        "at": at.astimezone(UTC).isoformat(),
        "tables": {name: tables[name] for name in order if name in tables},
    }


def _success_facts(
    verdict: journal.Verdict | None, entries: Sequence[journal.JournalEntry], sync: Mapping[str, Any]
) -> success_criteria.SuccessFacts:
    active = [one for one in timeline.weights(entries) if one.in_effect and one.figures]
    watched = [e.evidence for e in checklist.in_effect(entries) if e.phase == "2.3" and e.item == "error_rate"]
    forward = sync["latency"].get("forward")
    return success_criteria.SuccessFacts(
        verdict.summary if verdict else None,
        [one.figures for one in active if one.figures],
        sum(int(one.get("requests") or 0) for one in watched),
        sum(int(one.get("errors") or 0) for one in watched),
        forward["p95"]["median"] if forward else None,
    )


def _risk_facts(
    verdict: journal.Verdict | None,
    entries: Sequence[journal.JournalEntry],
    checks: Mapping[str, Any] | None,
    tests: int,
) -> risks.RiskFacts:
    rehearsals = [
        entry.evidence
        for entry in checklist.in_effect(entries)
        if (entry.phase, entry.item, entry.result) == ("2.1", "rehearsals", "done")
    ]
    return risks.RiskFacts(verdict.summary if verdict else None, checks, tests, rehearsals[-1] if rehearsals else None)


def _samples(service_directory: Path, entries: Sequence[journal.JournalEntry]) -> dict[str, list[dict[str, Any]]]:
    """Returns the latency over time of this migration. Samples of an earlier attempt in the same files are left out."""
    if not entries:
        return {}
    began = entries[0].at
    folder = configuration.history_below(service_directory)
    return {
        direction: [one for one in latency.read_history(folder, direction) if _at(one) >= began]
        for direction in sync_report.DIRECTIONS
    }


def _at(sample: Mapping[str, Any]) -> datetime:
    try:
        at = datetime.fromisoformat(str(sample["at"]))
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _deliverables(reports: Path, services: Path) -> list[dict[str, Any]]:
    """Returns the plan's deliverables with their files: ``name``, ``at`` (when it was written), and ``here``, whether
    it is in the folder of the page."""
    history = configuration.history_below(services)
    wanted: dict[str, list[tuple[Path, str]]] = {
        "consistency_report": [(reports, "consistency-latest.md"), (reports, "consistency-latest.json")],
        "sync_log": [(reports, "sync-latest.md"), (reports, "sync-latest.json"), (history, "lag-*.jsonl*")],
        "completion_report": [(reports, "migration-latest.*")],
        "preflight": [(reports, "preflight.json")],
        "migration_tests": [(reports, migration_tests.FILE)],
        "journals": [(reports, "journal-*.jsonl"), (reports, "runs.jsonl")],
    }
    return [
        {
            "id": name,
            "files": [
                {
                    "name": path.name if folder == reports else str(path),
                    "here": folder == reports,
                    "at": datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds"),
                }
                for folder, pattern in places
                for path in sorted(folder.glob(pattern))
            ],
        }
        for name, places in wanted.items()
    ]


def _plain(entry: journal.JournalEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": entry.at.astimezone(UTC).isoformat(),
        "who": entry.who,
        "command": entry.command,
        "phase": entry.phase,
        "item": entry.item,
        "result": entry.result,
        "evidence": entry.evidence,
        "hash": entry.hash,
    }


def _json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one.astimezone(UTC).isoformat() if isinstance(one, datetime) else one for name, one in row.items()}
