"""Enables and disables the actions of the alarms on missing data.

They notify only while a service should be publishing.
Terraform creates these alarms with their actions disabled (terraform/modules/observability), and ignores what is
changed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from task_migration.errors import MigrationError
from task_migration.external.aws import Aws, translated_errors

CONNECT_SECONDS, READ_SECONDS = 2.0, 3.0
"""There is one try only, because a rollback may be waiting for it."""


@dataclass(frozen=True)
class AlarmActions:
    """The result. ``changed``: the actions were enabled or disabled (in check mode: would be). ``line``: the result for
    the operator, or the command to type because it failed; "" if there was nothing to do."""

    changed: bool = False
    line: str = ""


def alarm_name(migration_environment: str, service: str) -> str:
    """Returns the name of the alarm on missing data of a service ("sync_forward")."""
    return f"task-service-{migration_environment}-migration-{service.replace('_', '-')}-silent"


def set_enabled(service: str, wanted: bool, *, migration_environment: str, aws: Aws, check: bool) -> AlarmActions:
    """Enables or disables the actions of a service's alarm. Without such an alarm there is nothing to do.

    Raises nothing: an alarm must not prevent a service from starting or stopping.
    """
    name = alarm_name(migration_environment, service)
    try:
        client = aws.client(
            "cloudwatch",
            attempts=1,
            connect_timeout_seconds=CONNECT_SECONDS,
            read_timeout_seconds=READ_SECONDS,
        )
        with translated_errors("read CloudWatch alarms"):
            found = client.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm"])["MetricAlarms"]
        if not found or found[0]["ActionsEnabled"] == wanted:
            return AlarmActions()
        if not check:
            with translated_errors(f"{'enable' if wanted else 'disable'} the actions of an alarm", writes=True):
                call = client.enable_alarm_actions if wanted else client.disable_alarm_actions
                call(AlarmNames=[name])
    except MigrationError as error:
        verb = "enable" if wanted else "disable"
        effect = "you are not alerted if the service stops" if wanted else "it may alert although nothing is wrong"
        return AlarmActions(
            line=f"{error.what}; the alarm {name} is not {verb}d, so {effect}; "
            f"next: aws cloudwatch {verb}-alarm-actions --alarm-names {name}"
        )
    would = "would be " if check else ""
    return AlarmActions(True, f"alarm on missing data {would}{'enabled' if wanted else 'disabled'}: {name}")
