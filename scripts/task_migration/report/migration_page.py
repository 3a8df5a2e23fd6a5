"""Renders the migration report as one self-contained HTML page: no script, and nothing to load.

Everything on it comes from the report's details, which the JSON file has too, so the same details give the same page.
Its texts are in migration_page.yml, in both languages; evidence is shown as the journal has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import quote

import jinja2

from task_migration import yaml_files
from task_migration.report import page_charts
from task_migration.report.page_format import (
    NOTHING,
    duration,
    error_rate,
    evidence_summary,
    measured,
    number,
    p95,
    promised,
    when,
)

JOURNAL_SHOWN = 500
VERDICTS_SHOWN = 50
CONFLICTS_SHOWN = 50


@cache
def words(language: str) -> dict[str, str]:
    """Returns every text of the page in one language, by its name."""
    read = yaml_files.read("report/migration_page.yml")
    return {name: one[language] for name, one in read.items()}


def page(details: Mapping[str, Any], language: str) -> str:
    """Returns the page as HTML. ``details`` are the migration report's, as in its JSON."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("task_migration", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    texts = words(language)
    environment.filters |= {"number": number, "when": when, "href": quote, "evidence_summary": evidence_summary}
    account = details["accounting"]
    return environment.get_template("migration-report.html.j2").render(
        **{**details, "journal": details["journal"][-JOURNAL_SHOWN:]},
        language=language,
        w=texts,
        headline=_headline(details, texts, language),
        tiles=_tiles(details, texts),
        entries=len(details["journal"]),
        timeline=page_charts.timeline(details, texts, language),
        run_rows=[{**run, "lasted": duration(run["began"], run["ended"])} for run in details["runs"]],
        weight_rows=[_weight(one, texts) for one in details["weights"]],
        charts=page_charts.weight_charts(details, texts),
        latency=page_charts.latency_chart(details, texts),
        accounts=page_charts.account_bars(account["tables"], texts) if account else [],
        areas=_areas(details["criteria"], language),
        verdict_rows=_verdicts(details["verdicts"])[-VERDICTS_SHOWN:],
        conflict_rows=details["sync"]["conflicts"]["newest"][:CONFLICTS_SHOWN],
        deliverable_rows=[{**one, "name": texts[one["id"]]} for one in details["deliverables"]],
    )


def _headline(details: Mapping[str, Any], texts: Mapping[str, str], language: str) -> dict[str, str]:
    """Returns ``text`` and ``look`` of the one sentence with the state of the migration."""
    if details["complete"]:
        return {"text": texts["headline_complete"], "look": "good"}
    if not details["runs"]:
        return {"text": texts["headline_nothing"], "look": "open"}
    last = details["runs"][-1]
    if last["phase"].startswith("rollback-"):
        result = texts[f"result_{last['result']}"]
        text = texts["headline_rollback"].format(phase=last["phase"].removeprefix("rollback-"), result=result)
        return {"text": text, "look": "open" if last["result"] == "done" else "bad"}
    phase = next((one for one in details["status"]["phases"] if one["phase"] == last["phase"]), None)
    state = phase["state"] if phase else last["result"]
    text = texts["headline_phase"].format(
        phase=last["phase"], name=phase[language] if phase else "", state=texts[f"state_{state.replace(' ', '_')}"]
    )
    return {"text": text, "look": {"done": "good", "failed": "bad", "interrupted": "bad"}.get(state, "open")}


def _tiles(details: Mapping[str, Any], texts: Mapping[str, str]) -> list[dict[str, str]]:
    """Returns the values that readers look for first, each with ``name``, ``value``, ``note`` and ``look``."""
    items = [item for phase in details["status"]["phases"] for item in phase["items"]]
    checked = sum(item["done"] for item in items)
    traffic = details["status"]["traffic"]
    share = traffic["share"] if traffic else None
    by = texts["by_gateway"]
    if share is None and details["weights"]:
        share, by = details["weights"][-1]["weight"], texts["by_journal"]
    tables = (details["accounting"] or {"tables": {}})["tables"].values()
    expected, lost = sum(one["expected"] for one in tables), sum(abs(one["unaccounted"]) for one in tables)
    last = details["verdicts"][-1] if details["verdicts"] else None
    conflicts = details["sync"]["conflicts"]["count"]
    letters = sum(one["count"] for one in details["sync"]["dead_letters"])
    return [
        _tile(texts["tile_checklist"], f"{checked} / {len(items)}", "", "good" if checked == len(items) else "open"),
        _tile(
            texts["tile_traffic"],
            NOTHING if share is None else f"{number(share)} %",
            by if share is not None else texts["not_measured"],
            "open",
        ),
        _tile(
            texts["tile_rows"],
            number(expected) if expected else NOTHING,
            (texts["rows_lost"].format(n=number(lost)) if lost else texts["rows_placed"])
            if expected
            else texts["not_measured"],
            "bad" if lost else "good" if expected else "open",
        ),
        _tile(
            texts["tile_differences"],
            number(last["differences"]) if last else NOTHING,
            when(last["at"]) + " UTC" if last else texts["not_measured"],
            "open" if last is None else "bad" if last["differences"] else "good",
        ),
        _tile(texts["tile_conflicts"], number(conflicts), texts["conflicts_kept"] if conflicts else "", "open"),
        _tile(texts["tile_dead_letters"], number(letters), "", "bad" if letters else "good"),
    ]


def _tile(name: str, value: str, note: str, look: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note, "look": look}


def _weight(one: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    metrics = one["figures"] or {}
    return {
        **one,
        "why": texts[f"why_{one['why']}"],
        "measured": bool(metrics),
        "requests": _count(metrics.get("requests")),
        "errors": _count(metrics.get("errors")),
        "rate": measured(error_rate(metrics), "%"),
        "slow": _count(metrics.get("slow")),
        "p95": measured(p95(metrics), "ms"),
        "cpu": measured(metrics.get("cpu_percent"), "%"),
        "confidence": measured(metrics.get("confidence_percent"), "%"),
    }


def _count(value: int | None) -> str:
    return NOTHING if value is None else number(value)


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
    """Returns each verdict; a red one with the time of the first green verdict after it, as ``reconciled``."""
    shown: list[dict[str, Any]] = []
    green: str | None = None
    for one in reversed(verdicts):
        shown.append({**one, "reconciled": None if one["passed"] else green, "rows": _rows(one["named"])})
        green = one["at"] if one["passed"] else green
    return shown[::-1]


def _rows(named: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows that differed, by table, key, kind and column."""
    return "; ".join(
        f"{one['table']} {one['key']} {one['kind']}" + (f": {', '.join(one['columns'])}" if one["columns"] else "")
        for one in named
    )
