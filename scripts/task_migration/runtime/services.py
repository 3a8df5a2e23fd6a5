"""What runs on when the playbook has ended: the sync of a direction, and the check that looks every hour.

Both read one configuration file, so that they can't mean different databases.
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
from task_migration.runtime.service import Service, ServiceHost, ends_with_the_job, engine
from task_migration.runtime.service_host import host
from task_migration.sync.sync_worker import SyncSettings

Name = Literal["sync_forward", "sync_backward", "consistency"]

NAMES: tuple[Name, ...] = ("sync_forward", "sync_backward", "consistency")
MOST_WORKERS = 8
"""There are eight lanes; a worker more would find none."""
UNITS = "/etc/systemd/system"
NO_ALARM = alarm_actions.AlarmActions()
_TITLES: Mapping[Name, str] = {
    "sync_forward": "carries changes from Laravel to the Task Service",
    "sync_backward": "carries changes from the Task Service to Laravel",
    "consistency": "compares Laravel and the Task Service",
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
    """Has one service kept alive as the inventory says, or takes it away, together with its further workers.

    What they are told is written to ``service_directory``/sync.json, its owner's alone. Taking away needs neither that
    file nor a database. With ``metrics_namespace`` the alarm on its silence is given its voice, or loses it; what
    CloudWatch refuses of that is a line and no failure. In a container that ends with the job nothing is begun or taken
    away: that the machine's own sync runs is looked at, and Refused is raised where it does not. Details: ``services``,
    those that were changed. Raises Refused if something else answers where the sync is to listen, or for a number of
    workers or a namespace that can't be.
    """
    if ends_with_the_job():
        return _of_the_machine(name, state, sync_health_ports)
    plan = _Plan(
        name,
        tuple(service_name(migration_environment, name, worker) for worker in range(1, MOST_WORKERS + 1)),
        Path(os.path.abspath(service_directory), "sync.json"),
        sync_workers,
        consistency_every_seconds,
    )
    keeper = host(service_kind, UNITS if service_kind == "systemd" else service_directory)

    def voiced() -> alarm_actions.AlarmActions:
        if not metrics_namespace:
            return NO_ALARM
        wanted = state == "present"
        return alarm_actions.set_enabled(
            name, wanted, migration_environment=migration_environment, aws=aws, check=check
        )

    if state == "absent":
        changed = _remove(keeper, plan.names, check)
        return _outcome(name, changed, "would be taken away" if check else "taken away", "is not there", voiced())
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
    told = Configuration(settings.to_dict(), ports, str(plan.history), checks, mapping_directory.chosen(), metrics)
    _refuse_what_can_not_be(keeper, plan, ports)
    if check:
        changed = _would_change(keeper, plan, told)
        return _outcome(name, changed, "would be started", "runs already", voiced())
    written = configuration.write(plan.file, told)
    services = plan.services()
    changed = [service.name for service in services if keeper.install(service)]
    changed += _remove(keeper, plan.names[len(services) :], check=False)
    return _outcome(name, changed or ([str(plan.file)] if written else []), "started", "runs already", voiced())


@dataclass(frozen=True)
class _Plan:
    """What is to be kept alive: the names that its workers may have, and how many there shall be."""

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
            return [Service(self.names[0], title, engine("consistency", *words), self.file, self.every_seconds)]
        words = ("--direction", self.name.removeprefix("sync_"), *words)
        # Only the first listens where the runbook asks; any port that is free will do for the others.
        return [
            Service(
                one,
                title,
                engine("sync", *words, *(("--health-port", "0") if number else ())),
                self.file,
                writes=(self.history,),
            )
            for number, one in enumerate(self.names[: self.workers])
        ]


def service_name(migration_environment: str, name: Name, worker: int = 1) -> str:
    """What a service is called on this machine, where other environments may have theirs."""
    number = f"-{worker}" if worker > 1 else ""
    return f"task-migration-{migration_environment}-{name.replace('_', '-')}{number}"


def _would_change(keeper: ServiceHost, plan: _Plan, told: Configuration) -> list[str]:
    if not configuration.is_written(plan.file, told):
        return [str(plan.file)]
    services = plan.services()
    changed = [service.name for service in services if keeper.would_change(service)]
    return changed + _remove(keeper, plan.names[len(services) :], check=True)


def _remove(keeper: ServiceHost, names: Sequence[str], check: bool) -> list[str]:
    return [one for one in names if (keeper.installed(one) if check else keeper.remove(one))]


def _refuse_what_can_not_be(keeper: ServiceHost, plan: _Plan, ports: Mapping[str, int]) -> None:
    """Also what answers where the sync is to listen: it would be taken for the one that is installed here."""
    if not 1 <= plan.workers <= MOST_WORKERS:
        raise Refused("no such number of workers", measured=str(plan.workers), allowed=f"1 to {MOST_WORKERS}")
    if plan.name == "consistency":
        return
    direction = plan.name.removeprefix("sync_")
    port = ports.get(direction)
    if port is None:
        raise Refused(
            f"the inventory's sync_health_ports names none for {direction}",
            next_step="correct sync_health_ports in the inventory",
        )
    if not keeper.running(plan.names[0]) and (other := health_endpoint.ask(port)) is not None:
        raise Refused(
            f"another sync listens on {health_endpoint.HOST}:{port}",
            measured=f"process {other.get('pid')}, sync {other['direction']}",
            allowed="one on each port of this machine",
            next_step="end it, or choose another port in sync_health_ports of the inventory",
        )


def _of_the_machine(name: Name, state: str, ports: Mapping[str, int]) -> Outcome:
    """The hourly check has no port: it is begun with the sync forward, and stands for it here."""
    direction = "forward" if name == "consistency" else name.removeprefix("sync_")
    port = int(ports[direction])
    said = health_endpoint.ask(port)
    runs = said is not None and said["direction"] == direction
    if state == "absent":
        left = "is left to the machine, where the same playbook takes it away" if runs else "is not there"
        return _outcome(name, [], "", left, alarm_actions.AlarmActions())
    if not runs:
        raise Refused(
            f"the sync {direction} can't be begun here: it would end with this job of AWX's",
            measured=f"no sync {direction} answers on {health_endpoint.HOST}:{port}",
            allowed="one that runs there already",
            next_step="type this playbook on the machine that keeps the sync, then launch this job again (docs/awx.md)",
        )
    return _outcome(name, [], "", "kept alive by the machine, and not by this job", alarm_actions.AlarmActions())


def _outcome(name: Name, changed: list[str], done: str, else_: str, voice: alarm_actions.AlarmActions) -> Outcome:
    said = f"{done}: {', '.join(changed)}" if changed else else_
    return Outcome(
        bool(changed) or voice.changed,
        f"what {_TITLES[name]}: {said}",
        {"name": name, "services": changed},
        (voice.line,) if voice.line else (),
    )
