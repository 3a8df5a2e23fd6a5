"""Rehearsals of the whole migration in a lab, and the gate that requires them before the first phase in production.

Each rehearsal is one line of rehearsals.jsonl on the machine that it ran on, because its lab is removed afterwards. The
rehearsals that phase 2.1 used are written to Laravel's journal when it starts.
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
    """Refuses unless the last ``rehearsals_required`` rehearsals of the current mappings were green. Changes nothing.

    They are not required again once phase 2.1 has started with the same mappings. ``force`` with a ``reason`` continues
    without them. Details: ``mappings`` (their version), ``green`` since the last red one, ``required``, ``faults`` that
    were rehearsed, ``forced``, ``reason``, and ``to_write``: whether to write this to the journal.
    """
    version = mapping_directory.version()
    laravel = database.laravel(laravel_dsn)
    with database.translated_errors(laravel), database.connect(laravel, "gate") as connection:
        known = _leaned_on(connection, version)
    if known is not None:
        return Outcome(
            False, f"rehearsals: phase 2.1 started with {known['green']} green ones", {**known, "to_write": False}
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
    counted = f"{len(green)} green in a row of the mappings {version}"
    if len(green) >= rehearsals_required:
        return Outcome(False, f"rehearsals: {counted}, required {rehearsals_required}", details)
    measured = f"{counted}{_red(own)}; {len(kept) - len(own)} of other mappings, in {Path(rehearsal_directory, FILE)}"
    if not force:
        raise Refused(
            "the migration was not rehearsed often enough with these mappings",
            measured=measured,
            allowed=f"{rehearsals_required} green in a row",
            next_step=f"ansible-playbook rehearse.yml -e times={rehearsals_required - len(green)}",
        )
    if not reason.strip():
        raise Refused(
            "force needs a reason to continue without the rehearsals",
            measured=measured,
            allowed="force with a reason, which is written to the journal",
            next_step=f"{_PREPARE} -e force=true -e \"reason='...'\"",
        )
    return Outcome(
        False,
        f"rehearsals: WARNING: {counted}, required {rehearsals_required}; forced: {reason}",
        {**details, "forced": True, "reason": reason},
    )


def record(rehearsal_directory: str | Path, result: Mapping[str, Any]) -> None:
    """Records one rehearsal: ``mappings``, ``green``, ``fault``, and further results."""
    atomic_file.append(Path(rehearsal_directory) / FILE, json.dumps(dict(result), ensure_ascii=False))


def _leaned_on(laravel: database.Connection, version: str) -> Mapping[str, Any] | None:
    """Returns what phase 2.1 recorded about these mappings; None if it did not start with them or was rolled back."""
    in_effect = [one for one in checklist.in_effect(journal.entries(laravel)) if one.phase == "2.1"]
    entry = next((one for one in reversed(in_effect) if one.item == ITEM and one.result == "done"), None)
    return entry.evidence if entry is not None and entry.evidence.get("mappings") == version else None


def _kept(rehearsal_directory: str) -> list[dict[str, Any]]:
    """Returns all rehearsals, oldest first. Lines cut short by a crash are ignored."""
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
    """Returns a remark on the last rehearsal if it was red, else ""."""
    if not own or own[-1]["green"]:
        return ""
    last = own[-1]
    return f"; the last one was red, {last.get('at')}, with the fault {last.get('fault')}: {last.get('why')}"
