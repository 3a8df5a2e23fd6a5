"""The SSM parameter that holds Laravel's TASK_SERVICE_ENABLED."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from task_migration.errors import Refused
from task_migration.external import aws


@dataclass(frozen=True)
class StoredFlag:
    """The value of the parameter, and when it was changed, by AWS's clock."""

    value: str
    changed_at: datetime


def read(ssm: Any, name: str) -> StoredFlag:
    """Reads the parameter. Raises Refused if it does not exist or is not a plain String.

    It is never created: nothing would read a parameter that the runbook made up.
    """
    try:
        with aws.translated_errors(f"read the parameter {name}"):
            found = ssm.get_parameter(Name=name)["Parameter"]
    except aws.NotThere as missing:
        raise Refused(
            f"there is no parameter {name}",
            measured=missing.measured,
            allowed="the parameter from which Laravel's containers or instances read TASK_SERVICE_ENABLED",
            next_step=f"correct laravel_flag in the inventory, or: aws ssm put-parameter --type String --value false "
            f"--name {shlex.quote(name)}",
        ) from missing
    if found["Type"] != "String":
        raise Refused(
            f"the parameter {name} is not a plain String",
            measured=f"type {found['Type']}",
            allowed="type String",
            next_step="correct laravel_flag in the inventory",
        )
    return StoredFlag(found["Value"], found["LastModifiedDate"])


def write(ssm: Any, name: str, value: str) -> None:
    """Changes the value; the type and the tags stay as they are."""
    with aws.translated_errors(f"change the parameter {name}", writes=True):
        ssm.put_parameter(Name=name, Value=value, Overwrite=True)
