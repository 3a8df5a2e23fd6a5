"""The alarms that ring when nothing is published: they tell somebody only while there is something that shall publish.

Terraform makes them without a voice (terraform/modules/observability) and lets alone what is done to it here.
"""

from __future__ import annotations

from dataclasses import dataclass

from task_migration.errors import MigrationError
from task_migration.external import aws

CONNECT_SECONDS, READ_SECONDS = 2.0, 3.0
"""Once: a way back may be what waits."""


@dataclass(frozen=True)
class AlarmActions:
    """``changed``: it was given or taken, or would be in check mode. ``line`` says so, or what to type as that failed;
    "" if there was nothing to do."""

    changed: bool = False
    line: str = ""


def alarm_name(migration_environment: str, service: str) -> str:
    """The alarm on the silence of a service ("sync_forward")."""
    return f"task-service-{migration_environment}-migration-{service.replace('_', '-')}-silent"


def set_enabled(
    service: str, wanted: bool, *, migration_environment: str, aws_region: str, aws_endpoint_url: str, check: bool
) -> AlarmActions:
    """Gives the alarm its voice, or takes it. Where nobody made that alarm there is nothing to do.

    Raises nothing: no service is kept from running, or from ending, by its alarm.
    """
    name = alarm_name(migration_environment, service)
    try:
        client = aws.client(
            "cloudwatch",
            aws_region=aws_region,
            aws_endpoint_url=aws_endpoint_url,
            attempts=1,
            connect_timeout_seconds=CONNECT_SECONDS,
            read_timeout_seconds=READ_SECONDS,
        )
        with aws.translated_errors("look at alarms"):
            found = client.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm"])["MetricAlarms"]
        if not found or found[0]["ActionsEnabled"] == wanted:
            return AlarmActions()
        if not check:
            with aws.translated_errors("say whether an alarm may tell", writes=True):
                act = client.enable_alarm_actions if wanted else client.disable_alarm_actions
                act(AlarmNames=[name])
    except MigrationError as error:
        verb = "enable" if wanted else "disable"
        effect = "its silence may go unnoticed" if wanted else "it may ring though nothing is wrong"
        return AlarmActions(line=f"{error.what}, so {effect}: aws cloudwatch {verb}-alarm-actions --alarm-names {name}")
    would = "would be " if check else ""
    return AlarmActions(True, f"the alarm on its silence {would}{'on' if wanted else 'off'}: {name}")
