"""The services that continue to run after the playbook has ended: the sync of each direction, and the hourly check.

All read one configuration file, so that they use the same databases.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from task_migration.errors import Refused
from task_migration.external import alarm_actions, cloudwatch_publisher
from task_migration.external.aws import Aws
from task_migration.mapping import mapping_directory
from task_migration.outcome import Outcome
from task_migration.runtime import configuration, health_endpoint
from task_migration.runtime.configuration import Configuration
from task_migration.runtime.service import Service, ServiceHost, core_command, ends_with_the_job
from task_migration.runtime.service_host import host
from task_migration.sync.sync_worker import SyncSettings

Name = Literal["sync_forward", "sync_backward", "consistency"]

NAMES: tuple[Name, ...] = ("sync_forward", "sync_backward", "consistency")
MOST_WORKERS = 8
"""There are eight lanes, so a ninth worker would find none."""
SYSTEMD_UNITS = "/etc/systemd/system"
NO_ALARM_CHANGE = alarm_actions.AlarmActions()
_TITLES: Mapping[Name, str] = {
    "sync_forward": "sync from Laravel to the Task Service",
    "sync_backward": "sync from the Task Service to Laravel",
    "consistency": "consistency check of Laravel and the Task Service",
}


def services(
    *,
    name: Name,
    state: Literal["present", "absent"] = "present",
    migration_environment: str,
    service_kind: Literal["systemd", "process"],
    service_directory: str,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    sync_sink: Literal["database", "api"] = "database",
    sync_workers: int = 1,
    sync_health_ports: Mapping[str, int],
    task_service_url: str = "",
    task_service_ca_file: str = "",
    service_token_file: str = "",
    consistency_every_seconds: int = 3600,
    quarantine_signed_off: Mapping[str, str] | None = None,
    alert_topic_arn: str = "",
    alert_command: Sequence[str] = (),
    aws: Aws,
    metrics_namespace: str = "",
    check: bool = False,
) -> Outcome:
    """Installs and starts one service as the inventory describes it, with all its workers, or removes it.

    Its configuration is written to ``service_directory``/sync.json, readable only for its owner. Removing needs neither
    this file nor a database. With ``metrics_namespace`` the actions of the alarm on its missing metrics are enabled or
    disabled; an error of CloudWatch is then a line of the result and not a failure. In a container that ends with the
    job nothing is started or removed: it only checks that the machine's own sync runs, and raises Refused if it does
    not. Details: ``services``, those that were changed. Raises Refused if another process answers on the sync's port,
    or for an invalid number of workers or namespace.
    """
    if ends_with_the_job():
        return _of_the_machine(name, state, sync_health_ports)
    plan = _ServicePlan(
        name,
        tuple(service_name(migration_environment, name, worker) for worker in range(1, MOST_WORKERS + 1)),
        Path(os.path.abspath(service_directory), "sync.json"),
        sync_workers,
        consistency_every_seconds,
    )
    service_host = host(service_kind, SYSTEMD_UNITS if service_kind == "systemd" else service_directory)

    def changed_alarms() -> alarm_actions.AlarmActions:
        if not metrics_namespace:
            return NO_ALARM_CHANGE
        return alarm_actions.set_enabled(
            name, state == "present", migration_environment=migration_environment, aws=aws, check=check
        )

    if state == "absent":
        changed = _remove(service_host, plan.names, check)
        return _outcome(name, changed, "would be removed" if check else "removed", "not installed", changed_alarms())
    settings = SyncSettings(
        laravel_dsn=laravel_dsn,
        task_service_dsn=task_service_dsn,
        laravel_timezone=laravel_timezone,
        s3_bucket=s3_bucket,
        sink=sync_sink,
        task_service_url=task_service_url,
        service_token_file=service_token_file,
        ca_file=task_service_ca_file,
    )
    metrics = {
        "metrics_namespace": cloudwatch_publisher.checked(metrics_namespace),
        "migration_environment": migration_environment,
        **asdict(aws),
    }
    checks = {
        "quarantine_signed_off": dict(quarantine_signed_off or {}),
        "alert_topic_arn": alert_topic_arn,
        "alert_command": list(alert_command),
        **metrics,
    }
    ports = {str(direction): int(port) for direction, port in sync_health_ports.items()}
    wanted = Configuration(settings.to_dict(), ports, str(plan.history), checks, mapping_directory.chosen(), metrics)
    _refuse_invalid(service_host, plan, ports)
    if check:
        changed = _would_change(service_host, plan, wanted)
        return _outcome(name, changed, "would be started", "already running", changed_alarms())
    written = configuration.write(plan.file, wanted)
    services = plan.services()
    changed = [service.name for service in services if service_host.install(service)]
    changed += _remove(service_host, plan.names[len(services) :], check=False)
    return _outcome(
        name, changed or ([str(plan.file)] if written else []), "started", "already running", changed_alarms()
    )


@dataclass(frozen=True)
class _ServicePlan:
    """The wanted services: the names that the workers can have, and the number of workers."""

    name: Name
    names: tuple[str, ...]
    file: Path
    workers: int
    every_seconds: int

    @property
    def history(self) -> Path:
        return configuration.history_below(self.file.parent)

    def services(self) -> list[Service]:
        words: tuple[str, ...] = ("--config", str(self.file))
        title = _TITLES[self.name]
        if self.name == "consistency":
            return [Service(self.names[0], title, core_command("consistency", *words), self.file, self.every_seconds)]
        words = ("--direction", self.name.removeprefix("sync_"), *words)
        # Only the first worker listens on the port that the runbook asks; the others use any free port.
        return [
            Service(
                one,
                title,
                core_command("sync", *words, *(("--health-port", "0") if number else ())),
                self.file,
                writes=(self.history,),
            )
            for number, one in enumerate(self.names[: self.workers])
        ]


def service_name(migration_environment: str, name: Name, worker: int = 1) -> str:
    """Returns the name of a service on this machine, which other environments may share."""
    number = f"-{worker}" if worker > 1 else ""
    return f"task-migration-{migration_environment}-{name.replace('_', '-')}{number}"


def _would_change(service_host: ServiceHost, plan: _ServicePlan, wanted: Configuration) -> list[str]:
    if not configuration.is_written(plan.file, wanted):
        return [str(plan.file)]
    services = plan.services()
    changed = [service.name for service in services if service_host.would_change(service)]
    return changed + _remove(service_host, plan.names[len(services) :], check=True)


def _remove(service_host: ServiceHost, names: Sequence[str], check: bool) -> list[str]:
    return [one for one in names if (service_host.installed(one) if check else service_host.remove(one))]


def _refuse_invalid(service_host: ServiceHost, plan: _ServicePlan, ports: Mapping[str, int]) -> None:
    """Raises Refused for an invalid number of workers, a missing port, or another sync on the port, which would be
    mistaken for the one that is installed here."""
    if not 1 <= plan.workers <= MOST_WORKERS:
        raise Refused("sync_workers is not valid", measured=str(plan.workers), allowed=f"1 to {MOST_WORKERS}")
    if plan.name == "consistency":
        return
    direction = plan.name.removeprefix("sync_")
    port = ports.get(direction)
    if port is None:
        raise Refused(
            f"the inventory's sync_health_ports has no port for {direction}",
            next_step="correct sync_health_ports in the inventory",
        )
    if not service_host.running(plan.names[0]) and (other := health_endpoint.ask(port)) is not None:
        raise Refused(
            f"another sync listens on {health_endpoint.HOST}:{port}",
            measured=f"process {other.get('pid')}, sync {other['direction']}",
            allowed="one sync on each port of this machine",
            next_step="stop it, or choose another port in sync_health_ports of the inventory",
        )


def _of_the_machine(name: Name, state: str, ports: Mapping[str, int]) -> Outcome:
    """Checks the machine's own sync. The hourly check has no port; it is installed together with the forward sync, so
    that one is checked instead."""
    direction = "forward" if name == "consistency" else name.removeprefix("sync_")
    port = int(ports[direction])
    health = health_endpoint.ask(port)
    runs = health is not None and health["direction"] == direction
    if state == "absent":
        left = "managed by the machine, where the same playbook removes it" if runs else "not installed"
        return _outcome(name, [], "", left, NO_ALARM_CHANGE)
    if not runs:
        raise Refused(
            f"the sync {direction} cannot be started here: it would stop with this AWX job",
            measured=f"no sync {direction} answers on {health_endpoint.HOST}:{port}",
            allowed="a sync that already runs on the machine",
            next_step="run this playbook on the machine of the sync, then launch this job again (docs/awx.md)",
        )
    return _outcome(name, [], "", "kept running by the machine, and not by this job", NO_ALARM_CHANGE)


def _outcome(name: Name, changed: list[str], done: str, unchanged: str, alarms: alarm_actions.AlarmActions) -> Outcome:
    summary = f"{done}: {', '.join(changed)}" if changed else unchanged
    return Outcome(
        bool(changed) or alarms.changed,
        f"{_TITLES[name]}: {summary}",
        {"name": name, "services": changed},
        (alarms.line,) if alarms.line else (),
    )
