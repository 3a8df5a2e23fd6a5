"""Writes the consistency report: what verify found, for the operator (Markdown) and for programs (JSON).

It holds keys, column names and counts, never the content of a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from task_migration import times
from task_migration.external import atomic_file
from task_migration.external.markdown import cell, number, table

SHOWN = 100
"""How many differences the Markdown lists; the JSON has all that verify lists."""

_KINDS = ("missing", "extra", "different")
_HASHES = {"record": "hash_record_extended", "text": "hashtextextended of the row's text"}


def consistency_report(details: Mapping[str, Any], directory: str | Path) -> tuple[Path, Path]:
    """Writes ``directory``/consistency-<UTC time>.md and .json, and both as consistency-latest; returns the first two.

    ``details`` are verify's; ``reasons`` among them say why the verdict is red. Each file is written atomically. Raises
    Failed if one cannot be written.
    """
    folder = Path(directory)
    checked_at = datetime.fromisoformat(details["checked_at"])
    markdown, machine = atomic_file.unused(folder, "consistency", checked_at, ".md", ".json")
    texts = {
        machine: json.dumps({**details, "next": next_steps(details)}, ensure_ascii=False, indent=2) + "\n",
        markdown: as_markdown(details),
    }
    for path, text in texts.items():
        atomic_file.write(path, text)
    for path, text in texts.items():
        atomic_file.write(folder / f"consistency-latest{path.suffix}", text)
    return markdown, machine


def as_markdown(details: Mapping[str, Any]) -> str:
    """Returns the report as Markdown that is also easy to read in a terminal."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"cell": cell, "number": number}
    text = (files("task_migration") / "compare" / "consistency-report.md.j2").read_text(encoding="utf-8")
    tables, differences = details["tables"], details["differences"]
    at = datetime.fromisoformat(details["checked_at"]).astimezone(UTC)
    return environment.from_string(text).render(
        passed=details["passed"],
        reasons=details.get("reasons", []),
        checked_at=f"{at:%Y-%m-%d %H:%M:%S} UTC",
        rows=sum(counts["laravel_rows"] for counts in tables.values()),
        tables=tables,
        held=sum(counts["quarantined"] for counts in tables.values()),
        next=next_steps(details),
        accounts=_accounts(tables),
        found=_found(details),
        totals=_totals(tables),
        differences=_differences(differences[:SHOWN]),
        shown=min(SHOWN, len(differences)),
        named=len(differences),
        quarantined=_quarantine(details["quarantine"]),
        comparisons=_comparisons(details["comparisons"]),
        hashes=_HASHES.get(details["hash_form"], details["hash_form"]),
        duration=_duration(details["duration_seconds"]),
        schema_fingerprint=details["schema_fingerprint"],
    )


def next_steps(details: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns what to type after this verdict, in order: ``command`` ("" if there is none) and ``why``."""
    verify_again = {"command": "ansible-playbook phase-2.2-verify.yml", "why": "verify again"}
    if details["passed"]:
        return [{"command": "ansible-playbook status.yml", "why": "see what is left to do"}]
    steps = []
    if found := _found(details):
        steps.append(
            {"command": "ansible-playbook reconcile.yml", "why": f"reconcile the {number(found)} rows that differ"}
        )
    if unsigned := [group["kind"] for group in details["quarantine"] if not group.get("signed_off")]:
        steps.append(
            {
                "command": "",
                "why": f"fix in Laravel the rows that are in quarantine as {', '.join(unsigned)}, and they are synced "
                "automatically; or sign them off with a reason, in quarantine_signed_off in the inventory",
            }
        )
    return [*steps, verify_again]


def _found(details: Mapping[str, Any]) -> int:
    return sum(counts[kind] for counts in details["tables"].values() for kind in _KINDS)


def _accounts(tables: Mapping[str, Mapping[str, int]]) -> str:
    columns = ("expected", "copied", "quarantined", "in_flight")
    rows: list[list[str | int]] = [
        [name, *(counts[column] for column in columns), _adds_up(counts)] for name, counts in tables.items()
    ]
    if len(tables) > 1:
        total = {column: sum(counts[column] for counts in tables.values()) for column in columns}
        rows.append(["total", *total.values(), _yes(all(row[-1] == "yes" for row in rows))])
    return table(("table", "expected", "= copied", "+ quarantined", "+ in flight", "adds up"), rows)


def _adds_up(counts: Mapping[str, int]) -> str:
    left = counts["expected"] - counts["copied"] - counts["quarantined"] - counts["in_flight"]
    return "yes" if left == 0 else f"NO, {left:+,}"


def _totals(tables: Mapping[str, Mapping[str, int]]) -> str:
    rows: list[list[str | int]] = [
        [name, counts["laravel_rows"], counts["task_service_rows"], *(counts[kind] for kind in _KINDS)]
        for name, counts in tables.items()
    ]
    return table(("table", "rows, as mapped", "rows stored", *_KINDS), rows)


def _differences(differences: Iterable[Mapping[str, Any]]) -> str:
    rows = [[one["table"], str(one["key"]), one["kind"], ", ".join(one["columns"])] for one in differences]
    return table(("table", "key", "kind", "columns"), rows)


def _quarantine(groups: Sequence[Mapping[str, Any]]) -> str:
    if not groups:
        return ""
    rows: list[list[str | int]] = [
        [
            group["kind"],
            group["count"],
            "held back" if group["held_back"] else "migrated, with a value left out",
            group["signed_off"] or "NOT signed off",
            ", ".join(map(str, group["sample_keys"])),
        ]
        for group in groups
    ]
    return table(("kind", "rows", "result", "signed off", "examples"), rows)


def _comparisons(compared: Mapping[str, Mapping[str, Any]]) -> str:
    counts, sample, tags = compared["counts"], compared["sample"], compared.get("tags")
    held = f", in quarantine {number(counts['quarantined'])}" if counts.get("quarantined") else ""
    return table(
        ("comparison", "measured", "agrees"),
        [
            [
                "Record counts (レコード数比較)",
                f"Laravel {number(counts['laravel'])}, Task Service {number(counts['task_service'])}{held}",
                _yes(counts["equal"]),
            ],
            [
                f"The newest {sample['rows']} rows (サンプルデータ比較)",
                f"{sample['equal']} of {sample['rows']} equal",
                _yes(sample["equal"] == sample["rows"]),
            ],
            *(
                [
                    [
                        "Tags, of every task (タグデータ検証)",
                        f"{number(tags['equal'])} of {number(tags['tasks'])} equal",
                        _yes(tags["equal"] == tags["tasks"]),
                    ]
                ]
                if tags
                else []
            ),
        ],
    )


def _yes(agrees: bool) -> str:
    return "yes" if agrees else "NO"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else times.duration(timedelta(seconds=seconds))
