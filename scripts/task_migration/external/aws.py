"""Creates AWS clients, and translates botocore's errors into Refused and Failed.

botocore is slow to import, so it is imported when AWS is called, and not with this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from task_migration.errors import Failed, MigrationError, Refused
from task_migration.external.loopback import on_this_machine

ATTEMPTS = 8
CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 10.0

_NO_LOGIN = "log in to AWS (aws sso login, or export AWS_PROFILE=...), then run the same command again"
_BAD_LOGIN = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "UnauthorizedException",
    "UnauthorizedOperation",
}
_NOT_THERE = {"NotFound", "NotFoundException", "ParameterNotFound", "ResourceNotFoundException"}
_BUSY = {
    "LimitExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_ACTION = re.compile(r"not authorized to perform: (?P<action>[\w-]+:\w+)")


class NotThere(Refused):
    """The resource does not exist in this account and region."""


@dataclass(frozen=True)
class Aws:
    """Where AWS is called: the inventory's values. ``aws_endpoint_url`` replaces the region's endpoint, "" keeps it;
    environment variables for endpoints are ignored."""

    aws_region: str
    aws_endpoint_url: str = ""

    def client(
        self,
        service: str,
        *,
        attempts: int = ATTEMPTS,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
    ) -> Any:
        """Returns a boto3 client of ``service`` ("ssm"). It finds credentials as the AWS CLI does.

        An endpoint on this machine is an emulator: it gets no real credentials, and no proxy is used. Raises Refused
        for an endpoint elsewhere without TLS.
        """
        import boto3
        from botocore.config import Config

        url = self.aws_endpoint_url
        emulated = bool(url) and on_this_machine(urlsplit(url).hostname or "nowhere")
        if url and not emulated and urlsplit(url).scheme != "https":
            raise Refused(
                "AWS may only be called over TLS",
                measured=f"aws_endpoint_url={url}",
                allowed="https, or an emulator on this machine",
                next_step="correct aws_endpoint_url in the inventory; leave it empty for AWS itself",
            )
        config = Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=connect_timeout_seconds,
            read_timeout=read_timeout_seconds,
            ignore_configured_endpoint_urls=True,
            **({"proxies": {}} if emulated else {}),
        )
        with translated_errors(f"use {service}"):
            # A new session each time, so that renewed credentials are used.
            session = _stand_in() if emulated else boto3.session.Session()
            return session.client(service, region_name=self.aws_region, endpoint_url=url or None, config=config)


@cache
def _stand_in() -> Any:
    """Returns the session for an emulator, which accepts any credentials."""
    import boto3

    return boto3.session.Session(aws_access_key_id="emulated", aws_secret_access_key="emulated")


@contextmanager
def translated_errors(doing: str, *, writes: bool = False) -> Iterator[None]:
    """Translates botocore's errors into Refused or Failed, in one line.

    ``doing`` completes the sentence "this AWS role may not ...". ``writes``: the call changes something, so a lost
    response is Failed. Raises NotThere for a resource that does not exist.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise explained(doing, error, writes=writes) from error


@contextmanager
def under_way(state: str) -> Iterator[None]:
    """Turns Refused into Failed, for calls that follow one that changed something. ``state`` describes what is
    changed so far."""
    try:
        yield
    except Refused as refused:
        raise Failed(
            f"{refused.what}; {state}",
            measured=refused.measured,
            allowed=refused.allowed,
            next_step=refused.next_step or "run the same command again: it continues where it stopped",
        ) from refused


def explained(doing: str, error: Exception, *, writes: bool) -> MigrationError:
    """Returns one error of botocore as a MigrationError."""
    from botocore import exceptions as boto

    text = " ".join(str(error).split())
    if isinstance(error, boto.ClientError):
        return _answered(doing, error, text, writes)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.ProfileNotFound):
        return Refused("this machine has no AWS credentials", measured=text, next_step=_NO_LOGIN)
    if isinstance(error, boto.CredentialRetrievalError | boto.SSOError | boto.UnauthorizedSSOTokenError):
        return Refused("the AWS credentials of this machine are not valid", measured=text, next_step=_NO_LOGIN)
    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError):
        return Refused(
            f"AWS cannot be reached to {doing}",
            measured=text,
            next_step="correct aws_region and aws_endpoint_url in the inventory, or this machine's network; "
            "then run the same command again",
        )
    if isinstance(error, boto.HTTPClientError):
        kind = Failed if writes else Refused
        return kind(
            f"AWS did not respond to a request to {doing}" + ("; it may have been done" if writes else ""),
            measured=text,
            next_step="run the same command again",
        )
    return Refused(f"the AWS call to {doing} is not possible", measured=f"{type(error).__name__}: {text}")


def _answered(doing: str, error: Any, text: str, writes: bool) -> MigrationError:
    """Returns an error response of AWS as a MigrationError."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _BAD_LOGIN:
        return Refused("AWS does not accept the credentials of this machine", measured=text, next_step=_NO_LOGIN)
    if code in _DENIED:
        named = _ACTION.search(text)
        action = named["action"] if named else error.operation_name
        return Refused(
            f"this AWS role may not {doing}",
            measured=text,
            allowed=f"a role with the permission {action}",
            next_step=f"add {action} to the policy of the role, then run the same command again",
        )
    if code in _NOT_THERE or code.endswith(("NotFoundException", "NotFound")):
        return NotThere(
            f"AWS has no resource of this name, so it cannot {doing}",
            measured=text,
            next_step="correct the name in the inventory; also check aws_region and the AWS account",
        )
    if code in _BUSY:
        return Failed(
            f"AWS limits the rate of requests to {doing}", measured=text, next_step="run the same command again later"
        )
    if status >= 500:
        kind = Failed if writes else Refused
        return kind(
            f"AWS had an internal error on a request to {doing}", measured=text, next_step="run the same command again"
        )
    return Refused(f"AWS refused a request to {doing}", measured=text)
