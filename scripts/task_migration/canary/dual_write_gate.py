"""The plan's trigger conditions (5.1), looked at once: a gate, and the first look of the dual write at itself."""

from __future__ import annotations

from collections.abc import Mapping

from task_migration.canary import rollback_conditions
from task_migration.canary.api_probe import ApiProbe
from task_migration.canary.dual_write_sampler import DualWriteSampler
from task_migration.canary.rollback_conditions import DualWriteBounds
from task_migration.errors import Failed
from task_migration.outcome import Outcome
from task_migration.postgres import database

BURST_WINDOW_SECONDS = 120.0


def dual_write_gate(
    *,
    laravel_dsn: str,
    sync_health_ports: Mapping[str, int],
    task_service_url: str = "",
    task_service_ca_file: str = "",
    bounds: DualWriteBounds,
    check: bool = False,
) -> Outcome:
    """Measures once and judges. Details: ``conditions``, and ``requests`` and ``errors`` of the Task Service's API.

    In check mode it does the same: it only ever looks. Raises Failed if a condition is breached or red; one that is
    unknown is said and stops nothing.
    """
    probe = ApiProbe(task_service_url, task_service_ca_file, BURST_WINDOW_SECONDS) if task_service_url else None
    probed = probe.burst() if probe else None
    measuring = DualWriteSampler(database.laravel(laravel_dsn), int(sync_health_ports["forward"]), probe, bounds)
    found = rollback_conditions.judge(measuring.sample(probed), bounds)
    bad = [one for one in found if one.grade in ("breached", "red")]
    if bad:
        taken_back = bool(rollback_conditions.breached(bad))
        raise Failed(
            "a condition is met under which the dual write is taken back" if taken_back else "a condition is red",
            measured="; ".join(map(str, bad)),
            next_step="ansible-playbook rollback-2.3.yml takes it back"
            if taken_back
            else "ansible-playbook status.yml",
        )
    counted = {grade: sum(one.grade == grade for one in found) for grade in ("fine", "warns", "unknown")}
    return Outcome(
        False,
        "conditions: " + ", ".join(f"{number} {grade}" for grade, number in counted.items() if number),
        {
            "conditions": [one.as_dict() for one in found],
            "requests": probed.requests if probed else 0,
            "errors": probed.errors if probed else 0,
        },
        tuple(f"{one.grade}: {one}" for one in found),
    )
