"""Rehearsals of the whole journey in a lab, and the gate that asks for them before the first phase in production.

Each is one line of rehearsals.jsonl, kept on the machine that it ran on, since no lab outlives its rehearsal. What
phase 2.1 leaned on is written to Laravel's journal with its start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_migration.control import checklist, journal
from task_migration.errors import Refused
from task_migration.external import atomic_file
from task_migration.mapping import mapping_directory
from task_migration.outcome import Outcome
from task_migration.postgres import database

FILE = "rehearsals.jsonl"
ITEM = "rehearsals"
_PREPARE = "ansible-playbook phase-2.1-prepare.yml"


def rehearsal_gate(
    *,
    laravel_dsn: str,
    rehearsal_directory: str,
    rehearsals_required: int,
    force: bool = False,
    reason: str = "",
    check: bool = False,
) -> Outcome:
    """Refuses unless the last ``rehearsals_required`` rehearsals of the mappings in force were green; looks only.

    Whoever began phase 2.1 with the same mappings is not asked again. ``force`` with a ``reason`` goes on without them.
    Details: ``mappings`` (their version), ``green`` since the last red one, ``required``, ``faults`` that were met,
    ``forced``, ``reason``, and ``to_write``: whether the journal is to hold this.
    """
    version = mapping_directory.version()
    laravel = database.laravel(laravel_dsn)
    with database.translated_errors(laravel), database.connect(laravel, "gate") as connection:
        known = _leaned_on(connection, version)
    if known is not None:
        return Outcome(
            False, f"rehearsals: phase 2.1 began with {known['green']} green ones", {**known, "to_write": False}
        )
    kept = _kept(rehearsal_directory)
    own = [one for one in kept if one.get("mappings") == version]
    last_red = max((number for number, one in enumerate(own) if not one["green"]), default=-1)
    green = own[last_red + 1 :]
    details = {
        "mappings": version,
        "green": len(green),
        "required": rehearsals_required,
        "faults": sorted({str(one.get("fault")) for one in green}),
        "forced": False,
        "reason": "",
        "to_write": rehearsals_required > 0,
    }
    said = f"{len(green)} green in a row of the mappings {version}"
    if len(green) >= rehearsals_required:
        return Outcome(False, f"rehearsals: {said}, asked for {rehearsals_required}", details)
    measured = f"{said}{_red(own)}; {len(kept) - len(own)} of other mappings, in {Path(rehearsal_directory, FILE)}"
    if not force:
        raise Refused(
            "the whole journey was not rehearsed often enough with these mappings",
            measured=measured,
            allowed=f"{rehearsals_required} green in a row",
            next_step=f"ansible-playbook rehearse.yml -e times={rehearsals_required - len(green)}",
        )
    if not reason.strip():
        raise Refused(
            "to go on without the rehearsals takes a reason",
            measured=measured,
            allowed="force with a reason, for the journal",
            next_step=f"{_PREPARE} -e force=true -e \"reason='...'\"",
        )
    return Outcome(
        False,
        f"rehearsals: WARNING: {said}, asked for {rehearsals_required}; forced: {reason}",
        {**details, "forced": True, "reason": reason},
    )


def record(rehearsal_directory: str | Path, result: Mapping[str, Any]) -> None:
    """Keeps one: ``mappings``, ``green``, ``fault``, and whatever else is to be known of it."""
    atomic_file.append(Path(rehearsal_directory) / FILE, json.dumps(dict(result), ensure_ascii=False))


def _leaned_on(laravel: database.Connection, version: str) -> Mapping[str, Any] | None:
    """What phase 2.1 wrote down of these mappings; None if it did not begin with them, or was taken back."""
    standing = [one for one in checklist.standing(journal.entries(laravel)) if one.phase == "2.1"]
    entry = next((one for one in reversed(standing) if one.item == ITEM and one.result == "done"), None)
    return entry.evidence if entry is not None and entry.evidence.get("mappings") == version else None


def _kept(rehearsal_directory: str) -> list[dict[str, Any]]:
    """All of them, oldest first. A line that a crash tore is none."""
    try:
        text = Path(rehearsal_directory, FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict) and isinstance(one.get("green"), bool):
            found.append(one)
    return found


def _red(own: list[dict[str, Any]]) -> str:
    """The last one that was not green, if it is what counts."""
    if not own or own[-1]["green"]:
        return ""
    last = own[-1]
    return f"; the last one was red, {last.get('at')}, with the fault {last.get('fault')}: {last.get('why')}"
