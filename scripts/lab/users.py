"""Lets users come to the lab's gateway, or sends them away and says how they fared."""

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

CARRIED_SECONDS = 3.0
"""How long the last changes may be on their way to the other side."""


def users(
    *, lab_directory: str, lab_users: Literal["on", "off"], lab_users_requests: float = 200, check: bool = False
) -> Outcome:
    """Starts or ends the traffic of the lab in ``lab_directory``: so many requests a second, half of them writes.

    They come through the gateway until they are sent away or the lab is taken down. All of them are in one ledger,
    which goes with the lab. When they go, their account is told, as far as there is a Task Service to hold it against.
    ``details``: the ledger, and the account. Raises Refused if the lab's gateway does not run.
    """
    world = Locations(Path(lab_directory).resolve())
    ledger = world.processes_directory / "users.jsonl"
    words = ("--endpoints", str(world.endpoints_file), "--ledger", str(ledger))
    command = (sys.executable, "-m", "lab.load.traffic", *words, "--gateway-requests", f"{lab_users_requests:g}")
    process = BackgroundProcess("users", world.processes_directory, command)
    if lab_users == "on":
        return _come(process, world.endpoints(), ledger, lab_users_requests, check)
    changed = process.runs() if check else process.stop()
    would = "would be " if check and changed else ""
    if not ledger.exists() or would:
        return Outcome(changed, f"the users {would or 'are '}gone", {"ledger": str(ledger)})
    found = _account(world.endpoints(), ledger)
    return Outcome(
        changed,
        f"the users are gone: {_headline(found)}",
        {"ledger": str(ledger), **found},
        (f"all of it: {sys.executable} -m lab.load.traffic check {' '.join(words)}",),
    )


def _come(
    process: BackgroundProcess, endpoints: Mapping[str, Any], ledger: Path, requests: float, check: bool
) -> Outcome:
    if not (endpoints.get("gateway_port") and is_listening(endpoints["gateway_port"])):
        raise Refused(
            "the lab's gateway does not run, so nobody can come",
            measured="nothing answers there" if endpoints.get("gateway_port") else "no gateway_port in endpoints.json",
            next_step="ansible-playbook lab-up.yml",
        )
    changed = process.pid() is None
    if changed and not check:
        before = ledger.stat().st_size if ledger.exists() else 0
        process.start(ready=lambda: ledger.exists() and ledger.stat().st_size > before)
    verb = "would come" if check and changed else "come" if changed else "come already"
    return Outcome(
        changed,
        f"users {verb} to {endpoints['gateway_url']}: {requests:g} requests a second, half of them writes",
        {"ledger": str(ledger)},
        (f"what they are told is done: {ledger}", "they go: ansible-playbook lab-users.yml -e lab_users=off"),
    )


def _account(endpoints: Mapping[str, Any], ledger: Path) -> dict[str, Any]:
    """The account when the last changes are carried, or as it is after CARRIED_SECONDS; how the users fared alone, if
    one of the databases can't be asked."""
    deadline = time.monotonic() + CARRIED_SECONDS
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
    lost = f"{found['lost']:,} lost" if found["whole"] else f"{found['lost']:,} lost or not carried yet"
    return (
        f"{fared}; {found['acknowledged']:,} acknowledged writes, {lost}, {found['doubled']:,} doubled, "
        f"{found['resurrected']:,} resurrected, {found['in conflict']:,} in conflict"
    )
