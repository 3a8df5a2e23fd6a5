"""Who types the command: the principal that AWS knows, or the login of this machine where AWS is not asked."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass

from task_migration.external import aws


@dataclass(frozen=True)
class Caller:
    """What AWS says of the credentials in use."""

    account: str
    arn: str


def caller(
    *,
    aws_region: str,
    aws_endpoint_url: str = "",
    attempts: int = aws.ATTEMPTS,
    read_timeout_seconds: float = aws.READ_TIMEOUT_SECONDS,
) -> Caller:
    """Asks AWS's STS, which needs no permission. Raises Refused where it can't be asked."""
    client = aws.client(
        "sts",
        aws_region=aws_region,
        aws_endpoint_url=aws_endpoint_url,
        attempts=attempts,
        read_timeout_seconds=read_timeout_seconds,
    )
    with aws.translated_errors("say whose credentials these are"):
        told = client.get_caller_identity()
    return Caller(str(told["Account"]), str(told["Arn"]))


def who(*, aws_account_id: str, aws_region: str, aws_endpoint_url: str = "") -> str:
    """The principal's ARN where the inventory names an account, else login@host, as the journal writes it.

    An ARN is AWS's word, and as good as the credentials are personal. A login is this machine's: whoever may set its
    environment may take another's name, so between people who mean it well it keeps apart, and nobody else.
    """
    if aws_account_id:
        return caller(aws_region=aws_region, aws_endpoint_url=aws_endpoint_url).arn
    return login()


def login() -> str:
    """login@host of this machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def person(who: str) -> str:
    """What stays the same when one person comes by another role, or from another machine: the name of the user or of
    the session in an ARN, the login before the host."""
    return who.rpartition("/")[2] if who.startswith("arn:") else who.partition("@")[0]


def region_of_shell() -> str:
    """The region that this shell is set to, as Terraform and the AWS CLI read it; "" if it is set to none."""
    import boto3

    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return named or str(boto3.session.Session().region_name or "")
