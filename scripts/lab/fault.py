"""Switches a fault of one of the lab's applications on or off while everything runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import httpx
from task_migration.errors import Failed, Refused
from task_migration.outcome import Outcome

from lab.apps.faults import ROUTE, Faults
from lab.locations import Locations

FaultKind = Literal["none", "errors", "slow", "down", "garbage"]
SIDES = {"task_service": "the Task Service", "laravel": "Laravel"}
SLOW_MS = 1000.0


def fault(
    *,
    lab_directory: str,
    lab_fault: FaultKind,
    lab_fault_percent: float = 50,
    lab_fault_side: Literal["task_service", "laravel"] = "task_service",
    check: bool = False,
) -> Outcome:
    """Switches one fault of one application on and its other faults off. ``none`` switches all off. A fault lasts until
    the application stops.

    ``lab_fault_percent`` is the share of requests that ``errors`` affects. Returns the faults in ``details``, in the
    form of PUT /lab/faults. Raises Refused if the application is not running.
    """
    application = SIDES[lab_fault_side]
    faults, description = _faults_of(lab_fault, lab_fault_percent, application)
    wanted = asdict(faults)
    url = Locations(Path(lab_directory).resolve()).endpoints().get(f"{lab_fault_side}_url")
    try:
        with httpx.Client(timeout=5, trust_env=False) as client:
            if not url:
                raise httpx.ConnectError(f"no {lab_fault_side}_url in endpoints.json")
            changed = client.get(f"{url}{ROUTE}").raise_for_status().json() != wanted
            if changed and not check:
                client.put(f"{url}{ROUTE}", json=wanted).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise Failed(
            f"{application} of the lab did not accept the fault", measured=f"HTTP {error.response.status_code}"
        ) from error
    except httpx.HTTPError as error:
        raise Refused(
            f"{application} of the lab is not running",
            measured=str(error) or type(error).__name__,
            next_step="ansible-playbook lab-up.yml",
        ) from error
    back = "ansible-playbook lab-fault.yml -e lab_fault=none"
    back += "" if lab_fault_side == "task_service" else f" -e lab_fault_side={lab_fault_side}"
    lines = () if lab_fault == "none" else (f"to switch it off: {back}",)
    would = "would be: " if check and changed else "" if changed else "already: "
    return Outcome(changed, f"{would}{description}", wanted, lines)


def _faults_of(kind: FaultKind, percent: float, application: str) -> tuple[Faults, str]:
    """Returns the faults to set, and a description for the operator."""
    match kind:
        case "errors":
            return Faults(
                error_rate=percent / 100
            ), f"{percent:g} % of the requests to {application} are answered with 500"
        case "slow":
            return Faults(latency_ms=SLOW_MS), f"every request to {application} takes one second longer"
        case "down":
            return Faults(down=True), f"{application} closes every connection without an answer"
        case "garbage":
            return Faults(garbage=True), f"every request to {application} is answered with an HTML page"
        case "none":
            return Faults(), f"{application} answers normally: no fault is on"
