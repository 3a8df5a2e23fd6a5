"""Makes the lab's Task Service fail in a chosen way, or be well again, while everything runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import httpx
from task_migration.errors import Failed, Refused
from task_migration.outcome import Outcome

from lab.faults import ROUTE, Faults
from lab.world import World

KINDS = {
    "none": Faults(),
    "errors": Faults(error_rate=0.5),
    "slow": Faults(latency_ms=1000),
    "down": Faults(down=True),
    "garbage": Faults(garbage=True),
}
SAID = {
    "none": "the Task Service is well",
    "errors": "every other request to the Task Service is answered 500",
    "slow": "every request to the Task Service takes a second longer",
    "down": "the Task Service closes every connection without an answer",
    "garbage": "every request to the Task Service is answered with a page of HTML",
}


def fault(
    *, lab_directory: str, lab_fault: Literal["none", "errors", "slow", "down", "garbage"], check: bool = False
) -> Outcome:
    """Switches one fault on and the others off; ``none`` ends them all. It lasts until the app ends.

    ``details`` are the faults as PUT /lab/faults takes them. Raises Refused if the lab's Task Service does not run.
    """
    wanted = asdict(KINDS[lab_fault])
    url = World(Path(lab_directory).resolve()).endpoints().get("task_service_url")
    try:
        with httpx.Client(timeout=5, trust_env=False) as client:
            if not url:
                raise httpx.ConnectError("no task_service_url in endpoints.json")
            changed = client.get(f"{url}{ROUTE}").raise_for_status().json() != wanted
            if changed and not check:
                client.put(f"{url}{ROUTE}", json=wanted).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise Failed(
            "the lab's Task Service did not switch the fault", measured=f"HTTP {error.response.status_code}"
        ) from error
    except httpx.HTTPError as error:
        raise Refused(
            "the lab's Task Service does not run",
            measured=str(error) or type(error).__name__,
            next_step="ansible-playbook lab-up.yml",
        ) from error
    lines = () if lab_fault == "none" else ("back to normal: ansible-playbook lab-fault.yml -e lab_fault=none",)
    would = "would be: " if check and changed else "" if changed else "already: "
    return Outcome(changed, f"{would}{SAID[lab_fault]}", wanted, lines)
