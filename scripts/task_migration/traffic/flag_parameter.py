"""The SSM parameter that holds Laravel's TASK_SERVICE_ENABLED."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from task_migration.errors import Refused
from task_migration.external import aws


@dataclass(frozen=True)
class Stored:
    """What the parameter holds, and since when by AWS's clock."""

    value: str
    changed_at: datetime


def read(ssm: Any, name: str) -> Stored:
    """Raises Refused if it is not there or is no plain String: nothing would read a parameter that we make up."""
    try:
        with aws.translated_errors(f"read the parameter {name}"):
            found = ssm.get_parameter(Name=name)["Parameter"]
    except aws.NotThere as missing:
        raise Refused(
            f"there is no parameter {name}",
            measured=missing.measured,
            allowed="the parameter that Laravel's containers or instances take TASK_SERVICE_ENABLED from",
            next_step=f"correct laravel_flag in the inventory, or: aws ssm put-parameter --type String --value false "
            f"--name {shlex.quote(name)}",
        ) from missing
    if found["Type"] != "String":
        raise Refused(f"the parameter {name} is no plain text", measured=f"type {found['Type']}", allowed="type String")
    return Stored(found["Value"], found["LastModifiedDate"])


def write(ssm: Any, name: str, value: str) -> None:
    """Gives it another value; its type and tags stay."""
    with aws.translated_errors(f"change the parameter {name}", writes=True):
        ssm.put_parameter(Name=name, Value=value, Overwrite=True)
