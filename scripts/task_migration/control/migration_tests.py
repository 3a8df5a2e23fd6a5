"""The record of migration tests: copies that started empty and that verify found equal."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from task_migration.control.checklist import MigrationTest
from task_migration.external import atomic_file

FILE = "migration-tests.jsonl"


def record(directory: str | Path, *, copied_at: datetime, details: Mapping[str, Any]) -> bool:
    """Adds one line for a copy that verify found equal.

    ``copied_at`` is when the copy was complete. It identifies the copy: one copy counts once, however often it is
    verified. ``details`` are verify's. Returns whether the line was added: not for a red verdict or a known copy.
    """
    if not details["passed"]:
        return False
    identity = copied_at.astimezone(UTC).isoformat()
    line = {
        "copied_at": identity,
        "verified_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "operator": getpass.getuser(),
        "host": socket.gethostname(),
        "rows": sum(table["task_service_rows"] for table in details["tables"].values()),
        "schema_fingerprint": details["schema_fingerprint"],
    }
    return atomic_file.append(
        Path(directory) / FILE,
        json.dumps(line, ensure_ascii=False),
        unless=lambda lines: any(test.copied_at == identity for test in _tests_in(lines)),
    )


def counted(directory: str | Path) -> list[MigrationTest]:
    """Returns the recorded migration tests, oldest first, each copy once. Lines cut short by a crash are ignored."""
    try:
        text = (Path(directory) / FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return list({test.copied_at: test for test in _tests_in(text.splitlines())}.values())


def _tests_in(lines: Iterable[str]) -> list[MigrationTest]:
    found = []
    for line in lines:
        try:
            stored = json.loads(line)
            verified_at = datetime.fromisoformat(stored["verified_at"])
            found.append(
                MigrationTest(stored["copied_at"], verified_at, stored["operator"], stored["host"], int(stored["rows"]))
            )
        except (ValueError, KeyError, TypeError):
            continue
    return found
