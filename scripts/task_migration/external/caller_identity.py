"""The identity of the operator: the AWS principal, or the login on this machine where AWS is not used."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass

from task_migration.external.aws import ATTEMPTS, READ_TIMEOUT_SECONDS, Aws, translated_errors


@dataclass(frozen=True)
class Caller:
    """The account and the principal of the AWS credentials in use."""

    account: str
    arn: str


def caller(aws: Aws, *, attempts: int = ATTEMPTS, read_timeout_seconds: float = READ_TIMEOUT_SECONDS) -> Caller:
    """Returns the caller by AWS STS, which needs no permission. Raises Refused if STS cannot be called."""
    client = aws.client("sts", attempts=attempts, read_timeout_seconds=read_timeout_seconds)
    with translated_errors("read the identity of these credentials"):
        identity = client.get_caller_identity()
    return Caller(str(identity["Account"]), str(identity["Arn"]))


def who(aws: Aws, aws_account_id: str) -> str:
    """Returns the principal's ARN if the inventory has an account, else login@host, as in the journal.

    AWS guarantees an ARN, so it identifies a person if the credentials are personal. A login is weaker: a user of this
    machine can set its environment to another name. It prevents mistakes, not fraud.
    """
    if aws_account_id:
        return caller(aws).arn
    return login()


def login() -> str:
    """Returns login@host of this machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def person(who: str) -> str:
    """Returns the part that is the same for one person with another role or on another machine: the name of the user
    or of the session in an ARN, or the login before the host."""
    return who.rpartition("/")[2] if who.startswith("arn:") else who.partition("@")[0]


def region_of_shell() -> str:
    """Returns the AWS region of this shell, as Terraform and the AWS CLI read it; "" if none is set."""
    import boto3

    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return named or str(boto3.session.Session().region_name or "")
