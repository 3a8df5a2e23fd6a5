"""The headers of the runbook's probes through the gateway: those of one user, in a file that only its owner
can read."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

from lab.sql_files import statement


def make(file: Path, laravel_dsn: str) -> None:
    """Writes ``X-User`` with the Cognito sub of the first user in Laravel that has one."""
    with psycopg.connect(laravel_dsn) as session:
        row = session.execute(statement("servers/laravel_data.sql", "cognito subs"), {"most": 1}).fetchone()
    beside = file.with_name(f".{file.name}")
    with open(os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as written:
        written.write(f"X-User: {row[0] if row else ''}\n")
    beside.replace(file)
