"""Judges the plan's trigger conditions (5.1) once: a gate, and the first check of the dual write."""

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
    """Measures once and judges; changes nothing, so check mode does the same.

    Details: ``conditions``, and ``requests`` and ``errors`` of the Task Service's API. Raises Failed if a condition is
    breached or red; one that is unknown is shown and stops nothing.
    """
    probe = ApiProbe(task_service_url, task_service_ca_file, BURST_WINDOW_SECONDS) if task_service_url else None
    api = probe.burst() if probe else None
    sampler = DualWriteSampler(database.laravel(laravel_dsn), int(sync_health_ports["forward"]), probe, bounds)
    conditions = rollback_conditions.judge(sampler.sample(api), bounds)
    bad = [one for one in conditions if one.grade in ("breached", "red")]
    if bad:
        breached = bool(rollback_conditions.breached(bad))
        raise Failed(
            "a condition for the rollback of the dual write is met" if breached else "a condition is red",
            measured="; ".join(map(str, bad)),
            next_step="ansible-playbook rollback-2.3.yml rolls the dual write back"
            if breached
            else "ansible-playbook status.yml",
        )
    counts = {grade: sum(one.grade == grade for one in conditions) for grade in ("fine", "warns", "unknown")}
    return Outcome(
        False,
        "conditions: " + ", ".join(f"{number} {grade}" for grade, number in counts.items() if number),
        {
            "conditions": [one.as_dict() for one in conditions],
            "requests": api.requests if api else 0,
            "errors": api.errors if api else 0,
        },
        tuple(f"{one.grade}: {one}" for one in conditions),
    )
