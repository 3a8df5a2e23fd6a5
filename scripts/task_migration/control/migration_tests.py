"""The record of migration tests: copies that were made from nothing and that verify found equal."""

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
    """Counts a migration test: one line for a copy that was made from nothing and that verify found equal.

    ``copied_at`` is when the copy was complete, which says which copy it was: however often one copy is verified, it
    counts once. ``details`` are verify's. Gives True if the line was added: not for a red verdict or a known copy.
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
    """The migration tests that were counted, oldest first, each copy once. A line that a crash tore is none."""
    try:
        text = (Path(directory) / FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return list({test.copied_at: test for test in _tests_in(text.splitlines())}.values())


def _tests_in(lines: Iterable[str]) -> list[MigrationTest]:
    found = []
    for line in lines:
        try:
            said = json.loads(line)
            verified_at = datetime.fromisoformat(said["verified_at"])
            found.append(
                MigrationTest(said["copied_at"], verified_at, said["operator"], said["host"], int(said["rows"]))
            )
        except (ValueError, KeyError, TypeError):
            continue
    return found
