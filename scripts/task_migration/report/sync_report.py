"""Writes the sync report as Markdown and JSON: the latency of the sync over time, its conflicts and its dead letters.

The values come from the samples that each sync records every ten seconds, and from the tables in both databases. A
conflict is shown by its key, the columns that differ and a hash of each row; the rows themselves stay in the database.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from task_migration import sql_files
from task_migration.external import atomic_file
from task_migration.external.markdown import cell, number, table
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.runtime import configuration, latency
from task_migration.sync import change_log, sync_tables

_FILE = "report/sync_report.sql"
DIRECTIONS = ("forward", "backward")
CONFLICTS_SHOWN = 100
TIMES_SHOWN = 30
BAR_MS = 5.0
"""One mark in the bars of the latency over time."""


@dataclass(frozen=True)
class ReportedSide:
    """What was read from one database. ``conflicts`` are the newest; ``pending`` is None if there is no change log."""

    by_winner: dict[str, int]
    conflicts: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    pending: int | None


def sync_report(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    service_directory: str,
    quarantine_signed_off: Mapping[str, str] | None = None,
    report_directory: str,
    check: bool = False,
) -> Outcome:
    """Writes sync-<UTC time>.md and .json, and both as sync-latest. In check mode it writes nothing.

    Details: ``latency`` per direction (milliseconds; the median and the worst of the ten-second values),
    ``throughput`` (entries per second), ``over_time``, ``conflicts``, ``dead_letters`` (rows that could not be synced,
    without the kinds that are signed off) and ``pending``. Raises Refused if a database cannot be reached.
    """
    signed_off = sorted(quarantine_signed_off or {})
    sides: dict[str, ReportedSide] = {}
    for side in (database.laravel(laravel_dsn), database.task_service(task_service_dsn)):
        with database.translated_errors(side), database.connect(side, "report") as connection:
            sides[side.name] = read_side(connection, signed_off)
    samples = {
        direction: latency.read_history(configuration.history_below(Path(service_directory)), direction)
        for direction in DIRECTIONS
    }
    details = sync_details(sides, samples)
    count, letters = details["conflicts"]["count"], sum(one["count"] for one in details["dead_letters"])
    speed = "; ".join(
        f"{direction} p95 {one['p95']['median']:g} ms, {details['throughput'][direction]['mean']:g} entries/s"
        for direction, one in details["latency"].items()
    )
    message = f"sync: {speed or 'nothing was synced yet'}; {count} conflicts, {letters} dead letters"
    if check:
        return Outcome(False, message, details)
    at = datetime.fromisoformat(details["made_at"])
    markdown, machine = atomic_file.unused(Path(report_directory), "sync", at, ".md", ".json")
    texts = {machine: json.dumps(details, ensure_ascii=False, indent=2) + "\n", markdown: as_markdown(details)}
    for path, text in texts.items():
        atomic_file.write(path, text)
        atomic_file.write(path.with_name(f"sync-latest{path.suffix}"), text)
    return Outcome(False, f"{message}; report: {markdown}", {**details, "report": str(markdown)})


def as_markdown(details: Mapping[str, Any]) -> str:
    """Returns the report as Markdown that is also easy to read in a terminal."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"cell": cell, "number": number}
    text = (files("task_migration") / "report" / "sync-report.md.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        **details,
        speeds=_speeds(details),
        times={direction: _times(points) for direction, points in details["over_time"].items()},
        conflict_table=_conflict_table(details["conflicts"]["newest"]),
        letters=table(
            ["refused by", "kind", "rows", "examples"],
            [[one["side"], one["kind"], one["count"], ", ".join(one["sample"])] for one in details["dead_letters"]],
        ),
    )


def read_side(connection: database.Connection, signed_off: Sequence[str]) -> ReportedSide:
    """Reads conflicts and dead letters from this database, without the kinds of quarantine that are signed off."""
    pending = change_log.length(connection) if change_log.exists(connection) else None
    missing = sync_tables.missing(connection)
    if missing:
        return ReportedSide({}, [], [], pending)
    newest = connection.execute(sql_files.statement(_FILE, "conflicts"), {"most": CONFLICTS_SHOWN})
    names = (
        "at", "unit", "key", "winner", "laravel_at", "task_service_at", "winner_hash", "loser_hash", "differing"
    )  # fmt: skip
    conflicts = [dict(zip(names, row, strict=True)) for row in newest]
    for one in conflicts:
        one |= {name: one[name].astimezone(UTC).isoformat() for name in ("at", "laravel_at", "task_service_at")}
    return ReportedSide(
        sync_tables.conflicts_by_winner(connection),
        conflicts,
        [
            {"side": connection.side.name, "kind": one.kind, "count": one.rows, "sample": list(one.newest)}
            for one in sync_tables.dead_letters_by_kind(connection, signed_off)
        ],
        pending,
    )


def sync_details(
    sides: Mapping[str, ReportedSide], samples: Mapping[str, list[dict[str, Any]]], times: int = TIMES_SHOWN
) -> dict[str, Any]:
    """Returns the report as JSON values, from the databases that could be reached and the samples of each direction,
    with at most ``times`` points over time."""
    busy = {
        direction: [one for one in found if one["lag_ms"]["p50"] is not None] for direction, found in samples.items()
    }
    winners = {
        winner: sum(side.by_winner.get(winner, 0) for side in sides.values()) for winner in ("laravel", "task_service")
    }
    newest = sorted((one for side in sides.values() for one in side.conflicts), key=lambda one: str(one["at"]))
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "latency": {direction: _latency(found) for direction, found in busy.items() if found},
        "throughput": {direction: _throughput(found) for direction, found in busy.items() if found},
        "over_time": {direction: _over_time(found, times) for direction, found in samples.items() if found},
        "conflicts": {
            "count": sum(winners.values()),
            "won_by": winners,
            "newest": newest[::-1][:CONFLICTS_SHOWN],
        },
        "dead_letters": [one for side in sides.values() for one in side.dead_letters],
        "pending": {name: side.pending for name, side in sides.items()},
    }


def _latency(samples: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    found = {share: [one["lag_ms"][share] for one in samples] for share in ("p50", "p95", "p99")}
    return {
        share: {"median": round(statistics.median(values), 1), "worst": round(max(values), 1)}
        for share, values in found.items()
    }


def _throughput(samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    rates = [one["entries_per_second"] for one in samples]
    return {"mean": round(statistics.mean(rates), 1), "most": round(max(rates), 1)}


def _over_time(samples: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """Returns at most ``most`` points; each has the worst values of its samples."""
    width = max(1, -(-len(samples) // most))
    points = []
    for start in range(0, len(samples), width):
        part = samples[start : start + width]
        points.append(
            {
                "from": part[0]["at"],
                "entries_per_second": round(statistics.mean(one["entries_per_second"] for one in part), 1),
                **{share: _most(one["lag_ms"][share] for one in part) for share in ("p50", "p95", "p99")},
                "pending": _most(one["pending"] for one in part),
                "oldest_seconds": _most(one["oldest_seconds"] for one in part),
                "states": sorted({one["state"] for one in part}),
            }
        )
    return points


def _most(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _speeds(details: Mapping[str, Any]) -> str:
    rows = [
        [
            direction,
            *(f"{one[share]['median']:g} ({one[share]['worst']:g})" for share in ("p50", "p95", "p99")),
            f"{details['throughput'][direction]['mean']:g} ({details['throughput'][direction]['most']:g})",
        ]
        for direction, one in details["latency"].items()
    ]
    return table(["direction", "p50 ms", "p95 ms", "p99 ms", "entries/s"], rows)


def _times(points: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            str(one["from"])[:19],
            f"{one['entries_per_second']:g}",
            *("-" if one[share] is None else f"{one[share]:.1f}" for share in ("p50", "p95", "p99")),
            "-" if one["pending"] is None else f"{one['pending']:g}",
            ", ".join(one["states"]),
            "#" * min(40, round((one["p95"] or 0) / BAR_MS)),
        ]
        for one in points
    ]
    return table(["from (UTC)", "entries/s", "p50 ms", "p95 ms", "p99 ms", "pending", "state", "p95"], rows)


def _conflict_table(conflicts: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            str(one["at"])[:19],
            f"{one['unit']} {one['key']}",
            str(one["winner"]),
            ", ".join(one["differing"]) or "one side had deleted it",
            (one["winner_hash"] or "gone")[:12],
            (one["loser_hash"] or "gone")[:12],
        ]
        for one in conflicts
    ]
    return table(["at (UTC)", "row", "winner", "columns that differ", "winner's hash", "loser's hash"], rows)
