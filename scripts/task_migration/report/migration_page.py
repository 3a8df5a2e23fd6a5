"""One self-contained HTML page of what the migration report holds: no script, no outside resource, nothing to load.

Everything that stands on it comes from the report's details, as in the JSON beside it, so the same details give the
same page. Its words are in migration_page.yml, in both languages; evidence is shown as the journal has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import jinja2
import yaml
from markupsafe import Markup

from task_migration import times
from task_migration.control import checklist
from task_migration.report import success_criteria, svg_charts

ACCOUNT = ("expected", "copied", "quarantined", "in_flight", "unaccounted")
WIDE, NARROW = 880.0, 340.0
COLUMNS = 8
"""So many weights have a column in a chart; the table has all."""
JOURNAL_SHOWN = 500
VERDICTS_SHOWN = 50
CONFLICTS_SHOWN = 50
NOTHING = "\N{EN DASH}"


@cache
def words(language: str) -> dict[str, str]:
    """Every text of the page in one language, by its name."""
    read = yaml.safe_load((files("task_migration") / "report" / "migration_page.yml").read_text(encoding="utf-8"))
    return {name: one[language] for name, one in read.items()}


def page(details: Mapping[str, Any], language: str) -> str:
    """The page. ``details`` are the migration report's, as its JSON holds them."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("task_migration", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    said = words(language)
    environment.filters |= {"number": number, "when": when, "href": quote, "told": told}
    account = details["accounting"]
    return environment.get_template("migration-report.html.j2").render(
        **{**details, "journal": details["journal"][-JOURNAL_SHOWN:]},
        language=language,
        w=said,
        headline=_headline(details, language),
        tiles=_tiles(details, said),
        entries=len(details["journal"]),
        timeline=_timeline(details, language),
        runs_told=[{**run, "lasted": _lasted(run)} for run in details["runs"]],
        weights_told=[_weight(one, said) for one in details["weights"]],
        charts=_charts(details, said),
        latency=_latency(details, said),
        accounts=_accounts(account["tables"], said) if account else [],
        areas=_areas(details["criteria"], language),
        verdicts_told=_verdicts(details["verdicts"])[-VERDICTS_SHOWN:],
        conflicts_told=details["sync"]["conflicts"]["newest"][:CONFLICTS_SHOWN],
        deliverables_told=[{**one, "name": said[one["id"]]} for one in details["deliverables"]],
    )


# Values, for the eye


def number(value: int | float) -> str:
    """1234567 as 1,234,567; no more decimals than it has, and four at most."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}".rstrip("0").rstrip(".")


def when(at: str | None) -> str:
    """An ISO time as the reader reads it, in UTC to the second; "" for None."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at else ""


def told(evidence: Mapping[str, Any]) -> str:
    """What stands with an entry of the journal, in a few words: a cause says more than figures."""
    return str(evidence.get("cause") or evidence.get("trigger") or checklist.figures(evidence))


def measured(value: float | None, unit: str) -> str:
    """A value with its unit; a dash where nobody measured. Cut and not rounded: 199.96 ms do not look like 200."""
    if value is None:
        return NOTHING
    cut = Decimal(repr(value)).quantize(Decimal("0.1" if unit == "ms" else "0.0001"), ROUND_DOWN)
    return f"{number(float(cut))} {unit}"


def promised(criterion: Mapping[str, Any]) -> str:
    """What a success criterion promises: "< 200 ms"."""
    ((kind, bound),) = criterion["promised"].items()
    sign = {"least": "≥ " if bound < 100 else "", "below": "< ", "most": "≤ " if bound else ""}[kind]
    return f"{sign}{number(bound)} {criterion['unit']}"


def _rate(figures: Mapping[str, Any]) -> float | None:
    """The share of failed requests in percent; None if there were none at all."""
    requests = figures.get("requests")
    return 100 * int(figures.get("errors") or 0) / requests if requests else None


def _p95(figures: Mapping[str, Any]) -> float | None:
    return figures.get("p95_ms")


def _lasted(run: Mapping[str, Any]) -> str:
    if run["ended"] is None:
        return ""
    return times.duration(_time(run["ended"]) - _time(run["began"]))


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at)


# Parts of the page


def _headline(details: Mapping[str, Any], language: str) -> dict[str, str]:
    """``text`` and ``look`` of the one sentence that says how the migration stands."""
    said = words(language)
    if details["complete"]:
        return {"text": said["headline_complete"], "look": "good"}
    if not details["runs"]:
        return {"text": said["headline_nothing"], "look": "open"}
    last = details["runs"][-1]
    if last["phase"].startswith("rollback-"):
        result = said[f"result_{last['result']}"]
        text = said["headline_rollback"].format(phase=last["phase"].removeprefix("rollback-"), result=result)
        return {"text": text, "look": "open" if last["result"] == "done" else "bad"}
    phase = next((one for one in details["status"]["phases"] if one["phase"] == last["phase"]), None)
    state = phase["state"] if phase else last["result"]
    text = said["headline_phase"].format(
        phase=last["phase"], name=phase[language] if phase else "", state=said[f"state_{state.replace(' ', '_')}"]
    )
    return {"text": text, "look": {"done": "good", "failed": "bad", "interrupted": "bad"}.get(state, "open")}


def _tiles(details: Mapping[str, Any], said: Mapping[str, str]) -> list[dict[str, str]]:
    """The few figures that the reader looks for first: ``name``, ``value``, ``note`` and ``look``."""
    items = [item for phase in details["status"]["phases"] for item in phase["items"]]
    checked = sum(item["done"] for item in items)
    traffic = details["status"]["traffic"]
    share = traffic["share"] if traffic else None
    by = said["by_gateway"]
    if share is None and details["weights"]:
        share, by = details["weights"][-1]["weight"], said["by_journal"]
    tables = (details["accounting"] or {"tables": {}})["tables"].values()
    expected, lost = sum(one["expected"] for one in tables), sum(abs(one["unaccounted"]) for one in tables)
    last = details["verdicts"][-1] if details["verdicts"] else None
    conflicts = details["sync"]["conflicts"]["count"]
    letters = sum(one["count"] for one in details["sync"]["dead_letters"])
    return [
        _tile(said["tile_checklist"], f"{checked} / {len(items)}", "", "good" if checked == len(items) else "open"),
        _tile(
            said["tile_traffic"],
            NOTHING if share is None else f"{number(share)} %",
            by if share is not None else said["not_measured"],
            "open",
        ),
        _tile(
            said["tile_rows"],
            number(expected) if expected else NOTHING,
            (said["rows_lost"].format(n=number(lost)) if lost else said["rows_placed"])
            if expected
            else said["not_measured"],
            "bad" if lost else "good" if expected else "open",
        ),
        _tile(
            said["tile_differences"],
            number(last["differences"]) if last else NOTHING,
            when(last["at"]) + " UTC" if last else said["not_measured"],
            "open" if last is None else "bad" if last["differences"] else "good",
        ),
        _tile(said["tile_conflicts"], number(conflicts), said["conflicts_kept"] if conflicts else "", "open"),
        _tile(said["tile_dead_letters"], number(letters), "", "bad" if letters else "good"),
    ]


def _tile(name: str, value: str, note: str, look: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note, "look": look}


def _timeline(details: Mapping[str, Any], language: str) -> dict[str, Any] | None:
    """``since``, ``until`` and the picture in both widths; None if there is nothing to show."""
    runs = details["runs"]
    if not runs:
        return None
    said = words(language)
    names = {phase["phase"]: f"{phase['phase']} {phase[language]}" for phase in details["status"]["phases"]}
    seen = [*names, *dict.fromkeys(run["phase"] for run in runs if run["phase"] not in names)]
    since = min(_time(run["began"]) for run in runs)
    until = _time(details["made_at"])
    if details["complete"]:
        until = max(_time(entry["at"]) for entry in details["journal"])
    lanes = []
    for phase in (phase for phase in seen if any(run["phase"] == phase for run in runs)):
        stood = [
            svg_charts.Bar(_time(one["since"]), _time(one["until"]) if one["until"] else until, "stands")
            for one in details["stood"]
            if one["phase"] == phase
        ]
        own = [
            svg_charts.Bar(
                _time(run["began"]),
                _time(run["ended"]) if run["ended"] else until,
                run["result"],
                f"{said['result_' + run['result']]}: {when(run['began'])} UTC",
            )
            for run in runs
            if run["phase"] == phase
        ]
        name = names.get(phase) or said["rollback_lane"].format(phase=phase.removeprefix("rollback-"))
        lanes.append(svg_charts.Lane(name, [*stood, *own]))
    steps = [svg_charts.ChartStep(_time(one["since"]), one["weight"]) for one in details["weights"]]
    if steps:
        steps.insert(0, svg_charts.ChartStep(since, 0))
    pictures = [
        Markup(svg_charts.timeline(lanes, steps, since=since, until=until, title=said["timeline_title"], width=width))
        for width in (WIDE, NARROW)
    ]
    return {"since": since.isoformat(), "until": until.isoformat(), "wide": pictures[0], "narrow": pictures[1]}


def _weight(one: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, Any]:
    figures = one["figures"] or {}
    confidence = figures.get("confidence_percent")
    return {
        **one,
        "why": said[f"why_{one['why']}"],
        "measured": bool(figures),
        "requests": _count(figures.get("requests")),
        "errors": _count(figures.get("errors")),
        "rate": measured(_rate(figures), "%"),
        "slow": _count(figures.get("slow")),
        "p95": measured(figures.get("p95_ms"), "ms"),
        "cpu": measured(figures.get("cpu_percent"), "%"),
        "confidence": measured(confidence, "%"),
    }


def _count(value: int | None) -> str:
    return NOTHING if value is None else number(value)


def _charts(details: Mapping[str, Any], said: Mapping[str, str]) -> list[dict[str, Any]]:
    """Error rate and p95 of the newest weights that were judged, each beside what was promised."""
    judged = [one for one in details["weights"] if one["figures"]][-COLUMNS:]
    if not judged:
        return []
    bounds = {one.id: one.promised for one in success_criteria.criteria()}
    measured_at = {"error_rate": _rate, "p95": _p95}
    charts = []
    for name, value in measured_at.items():
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
        title = said[f"chart_{name}"]
        picture = Markup(svg_charts.column_chart(columns, bound=bound.bound, unit=bound.unit, title=title))
        charts.append({"title": title, "bound": f"< {number(bound.bound)} {bound.unit}", "picture": picture})
    return charts


def _latency(details: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, Any] | None:
    """The picture of the sync's p95 over time, in both widths, with its figures; None if nothing was carried."""
    sync = details["sync"]
    (bound,) = (one.promised for one in success_criteria.criteria() if one.id == "sync_time")
    series = {
        direction: [(_time(point["from"]), point["p95"]) for point in points]
        for direction, points in sync["over_time"].items()
    }
    pictures = [
        Markup(
            svg_charts.line_chart(series, bound=bound.bound, unit=bound.unit, title=said["latency_title"], width=width)
        )
        for width in (WIDE, NARROW)
    ]
    if not pictures[0]:
        return None
    figures = [
        {
            "direction": direction,
            "name": said[f"direction_{direction}"],
            **{share: measured(one[share]["median"], "ms") for share in ("p50", "p95", "p99")},
            "worst": measured(one["p95"]["worst"], "ms"),
            "mean": number(sync["throughput"][direction]["mean"]),
        }
        for direction, one in sync["latency"].items()
    ]
    return {"wide": pictures[0], "narrow": pictures[1], "figures": figures, "bound": f"{bound.bound:g} {bound.unit}"}


def _accounts(tables: Mapping[str, Mapping[str, Any]], said: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each table's account with its bar. What is in flight is negative for deletes, which take no place in a bar."""
    accounts = []
    for name, one in tables.items():
        parts = [(look, max(0.0, float(one[look]))) for look in ("copied", "quarantined", "in_flight")]
        parts.append(("unaccounted", float(abs(one["unaccounted"]))))
        title = ", ".join(f"{said[look]} {number(one[look])}" for look in ACCOUNT)
        accounts.append({"table": name, **one, "bar": Markup(svg_charts.bar_of_shares(parts, f"{name}: {title}"))})
    return accounts


def _areas(criteria: Sequence[Mapping[str, Any]], language: str) -> dict[str, list[dict[str, Any]]]:
    areas: dict[str, list[dict[str, Any]]] = {}
    for one in criteria:
        shown = {
            "name": one[language],
            "by": one[f"by_{language}"],
            "promised": promised(one),
            "measured": measured(one["measured"], one["unit"]),
            "of": one["of"],
            "state": one["state"].replace(" ", "_"),
        }
        areas.setdefault(one[f"area_{language}"], []).append(shown)
    return areas


def _verdicts(verdicts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each verdict, and when the first green one after it said that what it had found is mended."""
    shown: list[dict[str, Any]] = []
    green: str | None = None
    for one in reversed(verdicts):
        shown.append({**one, "mended": None if one["passed"] else green, "rows": _rows(one["named"])})
        green = one["at"] if one["passed"] else green
    return shown[::-1]


def _rows(named: Sequence[Mapping[str, Any]]) -> str:
    """Rows that differed, by table, key, kind and column."""
    return "; ".join(
        f"{one['table']} {one['key']} {one['kind']}" + (f": {', '.join(one['columns'])}" if one["columns"] else "")
        for one in named
    )
