"""The charts of the migration page, as SVG, from the details of the report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup

from task_migration.report import success_criteria, svg_charts
from task_migration.report.page_format import NOTHING, error_rate, measured, number, p95, when

ACCOUNT = ("expected", "copied", "quarantined", "in_flight", "unaccounted")
WIDE, NARROW = 880.0, 340.0
COLUMNS = 8
"""How many weights have a column in a chart; the table has all."""


def timeline(details: Mapping[str, Any], texts: Mapping[str, str], language: str) -> dict[str, Any] | None:
    """Returns ``since``, ``until`` and the chart of all phases in both widths; None if nothing was run."""
    runs = details["runs"]
    if not runs:
        return None
    names = {phase["phase"]: f"{phase['phase']} {phase[language]}" for phase in details["status"]["phases"]}
    seen = [*names, *dict.fromkeys(run["phase"] for run in runs if run["phase"] not in names)]
    since = min(datetime.fromisoformat(run["began"]) for run in runs)
    until = datetime.fromisoformat(details["made_at"])
    if details["complete"]:
        until = max(datetime.fromisoformat(entry["at"]) for entry in details["journal"])
    lanes = []
    for phase in (phase for phase in seen if any(run["phase"] == phase for run in runs)):
        active = [
            svg_charts.Bar(
                datetime.fromisoformat(one["since"]),
                datetime.fromisoformat(one["until"]) if one["until"] else until,
                "active",
            )
            for one in details["stood"]
            if one["phase"] == phase
        ]
        own = [
            svg_charts.Bar(
                datetime.fromisoformat(run["began"]),
                datetime.fromisoformat(run["ended"]) if run["ended"] else until,
                run["result"],
                f"{texts['result_' + run['result']]}: {when(run['began'])} UTC",
            )
            for run in runs
            if run["phase"] == phase
        ]
        name = names.get(phase) or texts["rollback_lane"].format(phase=phase.removeprefix("rollback-"))
        lanes.append(svg_charts.Lane(name, [*active, *own]))
    steps = [svg_charts.ChartStep(datetime.fromisoformat(one["since"]), one["weight"]) for one in details["weights"]]
    if steps:
        steps.insert(0, svg_charts.ChartStep(since, 0))
    charts = [
        Markup(svg_charts.timeline(lanes, steps, since=since, until=until, title=texts["timeline_title"], width=width))
        for width in (WIDE, NARROW)
    ]
    return {"since": since.isoformat(), "until": until.isoformat(), "wide": charts[0], "narrow": charts[1]}


def weight_charts(details: Mapping[str, Any], texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns the charts of the error rate and the p95 at the newest weights that were judged, each with its bound."""
    judged = [one for one in details["weights"] if one["figures"]][-COLUMNS:]
    if not judged:
        return []
    bounds = {one.id: one.promised for one in success_criteria.criteria()}
    values = {"error_rate": error_rate, "p95": p95}
    charts = []
    for name, value in values.items():
        bound = bounds[name]
        columns = [
            svg_charts.ChartColumn(
                f"{one['weight']} %",
                found,
                NOTHING if found is None else f"{found:.2g}" if found < 10 else f"{found:.0f}",
            )
            for one in judged
            for found in [value(one["figures"])]
        ]
        title = texts[f"chart_{name}"]
        picture = Markup(svg_charts.column_chart(columns, bound=bound.bound, unit=bound.unit, title=title))
        charts.append({"title": title, "bound": f"< {number(bound.bound)} {bound.unit}", "picture": picture})
    return charts


def latency_chart(details: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any] | None:
    """Returns the chart of the sync's p95 over time in both widths, and its ``figures``; None if nothing was synced."""
    sync = details["sync"]
    (bound,) = (one.promised for one in success_criteria.criteria() if one.id == "sync_time")
    series = {
        direction: [(datetime.fromisoformat(point["from"]), point["p95"]) for point in points]
        for direction, points in sync["over_time"].items()
    }
    charts = [
        Markup(
            svg_charts.line_chart(series, bound=bound.bound, unit=bound.unit, title=texts["latency_title"], width=width)
        )
        for width in (WIDE, NARROW)
    ]
    if not charts[0]:
        return None
    figures = [
        {
            "direction": direction,
            "name": texts[f"direction_{direction}"],
            **{share: measured(one[share]["median"], "ms") for share in ("p50", "p95", "p99")},
            "worst": measured(one["p95"]["worst"], "ms"),
            "mean": number(sync["throughput"][direction]["mean"]),
        }
        for direction, one in sync["latency"].items()
    ]
    return {"wide": charts[0], "narrow": charts[1], "figures": figures, "bound": f"{bound.bound:g} {bound.unit}"}


def account_bars(tables: Mapping[str, Mapping[str, Any]], texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns the account of each table with its bar. Rows in flight are negative for deletes; the bar leaves those
    out."""
    accounts = []
    for name, one in tables.items():
        parts = [(look, max(0.0, float(one[look]))) for look in ("copied", "quarantined", "in_flight")]
        parts.append(("unaccounted", float(abs(one["unaccounted"]))))
        title = ", ".join(f"{texts[look]} {number(one[look])}" for look in ACCOUNT)
        accounts.append({"table": name, **one, "bar": Markup(svg_charts.bar_of_shares(parts, f"{name}: {title}"))})
    return accounts
