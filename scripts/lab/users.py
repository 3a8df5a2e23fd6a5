"""Starts or stops user traffic through the lab's gateway, and reports how the users fared."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import psycopg
from task_migration.errors import Refused
from task_migration.outcome import Outcome

from lab.load.accounting import account
from lab.load.availability import availability
from lab.load.ledger import read
from lab.locations import Locations
from lab.servers.processes import BackgroundProcess, is_listening

SYNC_SECONDS = 3.0
"""How long to wait until the last changes have been synced."""


def users(
    *, lab_directory: str, lab_users: Literal["on", "off"], lab_users_requests: float = 200, check: bool = False
) -> Outcome:
    """Starts or stops the traffic of the lab in ``lab_directory``: ``lab_users_requests`` per second, half of them
    writes.

    The traffic runs through the gateway until it is stopped or the lab is taken down. All requests are recorded in one
    ledger, which is removed with the lab. When the traffic stops, the ledger is checked against both databases, if the
    Task Service's exists. Returns the ledger and the result of that check in ``details``. Raises Refused if the lab's
    gateway is not running.
    """
    locations = Locations(Path(lab_directory).resolve())
    ledger = locations.processes_directory / "users.jsonl"
    words = ("--endpoints", str(locations.endpoints_file), "--ledger", str(ledger))
    command = (sys.executable, "-m", "lab.load.traffic", *words, "--gateway-requests", f"{lab_users_requests:g}")
    process = BackgroundProcess("users", locations.processes_directory, command)
    if lab_users == "on":
        return _start(process, locations.endpoints(), ledger, lab_users_requests, check)
    changed = process.runs() if check else process.stop()
    would = "would be " if check and changed else ""
    if not ledger.exists() or would:
        return Outcome(changed, f"the traffic {would or 'is '}stopped", {"ledger": str(ledger)})
    found = _account(locations.endpoints(), ledger)
    return Outcome(
        changed,
        f"the traffic is stopped: {_headline(found)}",
        {"ledger": str(ledger), **found},
        (f"the full account: {sys.executable} -m lab.load.traffic check {' '.join(words)}",),
    )


def _start(
    process: BackgroundProcess, endpoints: Mapping[str, Any], ledger: Path, requests: float, check: bool
) -> Outcome:
    if not (endpoints.get("gateway_port") and is_listening(endpoints["gateway_port"])):
        raise Refused(
            "the lab's gateway is not running",
            measured=f"nothing listens on port {endpoints['gateway_port']}"
            if endpoints.get("gateway_port")
            else "no gateway_port in endpoints.json",
            next_step="ansible-playbook lab-up.yml",
        )
    changed = process.pid() is None
    if changed and not check:
        before = ledger.stat().st_size if ledger.exists() else 0
        process.start(ready=lambda: ledger.exists() and ledger.stat().st_size > before)
    verb = "would run" if check and changed else "runs" if changed else "already runs"
    return Outcome(
        changed,
        f"the traffic {verb} through {endpoints['gateway_url']}: {requests:g} requests per second, half of them writes",
        {"ledger": str(ledger)},
        (f"every request is recorded in {ledger}", "to stop it: ansible-playbook lab-users.yml -e lab_users=off"),
    )


def _account(endpoints: Mapping[str, Any], ledger: Path) -> dict[str, Any]:
    """Returns the account as soon as the last changes are synced, or as it is after SYNC_SECONDS.

    If one of the databases cannot be reached, returns only the availability.
    """
    deadline = time.monotonic() + SYNC_SECONDS
    try:
        while True:
            found = account(
                laravel_dsn=endpoints["laravel_dsn"], task_service_dsn=endpoints["task_service_dsn"], ledger=ledger
            )
            if found["whole"] or time.monotonic() > deadline:
                return found
            time.sleep(0.2)
    except (psycopg.Error, KeyError):
        return availability(read(ledger))


def _headline(found: Mapping[str, Any]) -> str:
    fared = (
        f"{found['requests']:,} requests, {found['failed requests']:,} failed, "
        f"longest write pause {found['longest write pause ms']:,} ms"
    )
    if "whole" not in found:
        return fared
    lost = f"{found['lost']:,} lost" if found["whole"] else f"{found['lost']:,} lost or not synced yet"
    return (
        f"{fared}; {found['acknowledged']:,} acknowledged writes, {lost}, {found['doubled']:,} doubled, "
        f"{found['resurrected']:,} resurrected, {found['in conflict']:,} in conflict"
    )
