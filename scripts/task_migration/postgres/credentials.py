"""Turns a connection string into a login: the role, the TLS settings, and the source of the password.

A connection string contains no password. Its ``passfile`` names the source, which is read when a session starts:

``/path/to/file``
    a password file of libpq, mode 0600
``arn:aws:secretsmanager:...``
    a secret in AWS Secrets Manager with {"username": ..., "password": ...}, the format of RDS
``rds-managed``
    the secret of the master login that RDS manages; RDS is asked for its ARN, because each new instance has another
``rds-iam``
    no stored password: an IAM token for the role's own name, valid for 15 minutes

``{role}`` in the user or in the passfile is replaced by the database role of the session: see database_roles.yml.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from task_migration.errors import Refused
from task_migration.external import atomic_file, aws
from task_migration.external.loopback import on_this_machine

IAM, MANAGED = "rds-iam", "rds-managed"
TEMPLATE = "{role}"
_SECRET = re.compile(r"arn:aws[\w-]*:secretsmanager:(?P<region>[\w-]+):\d*:secret:(?P<name>.+)")
_RDS = re.compile(r"\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.rds\.amazonaws\.com(?:\.cn)?$")
_SEEN: dict[str, dict[str, str]] = {}
"""Secrets that were read, by ARN, kept in memory until a login with one of them fails."""


def for_role(dsn: str, role: str) -> str:
    """Returns the connection string for one database role; without ``{role}`` in it, it is the same for all."""
    return dsn.replace(TEMPLATE, role)


def is_by_role(dsn: str) -> bool:
    """Returns whether each purpose has its own login."""
    return TEMPLATE in dsn


def parts(dsn: str) -> dict[str, Any]:
    """Returns libpq's parameters with TLS: to another machine ``verify-full`` unless the string says otherwise, and
    with the certificates of Amazon RDS for a host of RDS."""
    given: dict[str, Any] = dict(conninfo_to_dict(dsn))
    host = str(given.get("host", ""))
    if not on_this_machine(host):
        given.setdefault("sslmode", "verify-full")
        if _RDS.search(host) and str(given["sslmode"]).startswith("verify"):
            given.setdefault("sslrootcert", str(files("task_migration") / "postgres" / "rds_roots.pem"))
    return given


def is_kept_elsewhere(dsn: str) -> bool:
    """Returns whether the password is in Secrets Manager, so that it may have changed since it was read."""
    passfile = str(conninfo_to_dict(dsn).get("passfile", ""))
    return passfile == MANAGED or bool(_SECRET.fullmatch(passfile))


def login(dsn: str, *, renewed: bool = False) -> str:
    """Returns the connection string that libpq logs in with. It may contain a password, so pass it only to libpq.

    ``renewed`` reads a secret again, after a login with it has failed. Raises Refused if the secret does not exist or
    belongs to another user, or if there is no IAM token for this host.
    """
    given = parts(dsn)
    passfile = str(given.get("passfile", ""))
    if passfile == MANAGED:
        passfile = _managed(given, renewed)
    if secret := _SECRET.fullmatch(passfile):
        del given["passfile"]
        kept = _secret(passfile, secret["region"], renewed)
        if given.setdefault("user", kept["username"]) != kept["username"]:
            raise Refused(
                "the secret belongs to another user",
                measured=f"{passfile} is for {kept['username']}",
                allowed=str(given["user"]),
                next_step="correct user or passfile in the inventory's connection string",
            )
        given["password"] = kept["password"]
    elif passfile == IAM:
        del given["passfile"]
        given["password"] = _token(given)
    return make_conninfo("", **given)


def keep(dsn: str, password: str) -> None:
    """Stores a new password where the connection string's passfile points to: in the file or in the secret."""
    given = parts(dsn)
    user, passfile = str(given["user"]), str(given["passfile"])
    if secret := _SECRET.fullmatch(passfile):
        _SEEN.pop(passfile, None)
        text = json.dumps({"username": user, "password": password})
        client = _secrets_manager(secret["region"])
        with aws.translated_errors(f"write the secret {passfile}", writes=True):
            try:
                client.put_secret_value(SecretId=passfile, SecretString=text)
            except client.exceptions.ResourceNotFoundException:
                client.create_secret(Name=secret["name"], SecretString=text)
        return
    line = f"{given.get('host', 'localhost')}:{given.get('port', 5432)}:*:{user}:{password}"
    _rewrite(Path(passfile), user, given, [line])


def forget(dsn: str) -> None:
    """Removes the password that ``keep`` stored; nothing happens if there is none."""
    given = parts(dsn)
    passfile = str(given.get("passfile", ""))
    if secret := _SECRET.fullmatch(passfile):
        _SEEN.pop(passfile, None)
        client = _secrets_manager(secret["region"])
        with aws.translated_errors(f"delete the secret {passfile}", writes=True):
            try:
                client.delete_secret(SecretId=passfile, ForceDeleteWithoutRecovery=True)
            except client.exceptions.ResourceNotFoundException:
                return
    elif passfile not in (IAM, MANAGED) and Path(passfile).exists():
        _rewrite(Path(passfile), str(given["user"]), given, [])


def _rewrite(passfile: Path, user: str, given: Mapping[str, Any], new: list[str]) -> None:
    """Replaces the lines of one user and server in the file; a file without a line is removed."""
    begins = f"{given.get('host', 'localhost')}:{given.get('port', 5432)}:"
    before = passfile.read_text(encoding="utf-8").splitlines() if passfile.exists() else []
    lines = [line for line in before if not (line.startswith(begins) and line.split(":")[3:4] == [user])] + new
    if lines:
        atomic_file.write(passfile, "\n".join(lines) + "\n", private=True)
    else:
        passfile.unlink(missing_ok=True)


def _secret(arn: str, region: str, renewed: bool) -> dict[str, str]:
    if renewed:
        _SEEN.pop(arn, None)
    if arn not in _SEEN:
        with aws.translated_errors(f"read the secret {arn}"):
            answer = _secrets_manager(region).get_secret_value(SecretId=arn)
        _SEEN[arn] = _understood(arn, answer.get("SecretString", ""))
    return _SEEN[arn]


def _secrets_manager(region: str) -> Any:
    # The standard name for another address of this one service, such as a VPC endpoint's.
    return aws.Aws(region, os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER", "")).client("secretsmanager")


def _understood(arn: str, text: str) -> dict[str, str]:
    try:
        kept = json.loads(text)
    except ValueError:
        kept = None
    if not isinstance(kept, Mapping) or not all(isinstance(kept.get(key), str) for key in ("username", "password")):
        raise Refused(
            f"the secret {arn} does not contain a login",
            measured="not the JSON format of RDS",
            allowed='{"username": "...", "password": "..."}',
            next_step="correct passfile in the inventory's connection string, or the secret",
        )
    return {key: kept[key] for key in ("username", "password")}


def _managed(given: Mapping[str, Any], renewed: bool) -> str:
    """Returns the ARN of the secret in which RDS stores the master login of this host."""
    host = str(given.get("host", ""))
    region, name = _on_rds(host, MANAGED), host.split(".")[0]
    key = f"{MANAGED} {host}"
    if renewed:
        _SEEN.pop(key, None)
    if key not in _SEEN:
        client = aws.Aws(region, os.environ.get("AWS_ENDPOINT_URL_RDS", "")).client("rds")
        with aws.translated_errors(f"describe the RDS instance {name}"):
            (instance,) = client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
        _SEEN[key] = {"arn": instance.get("MasterUserSecret", {}).get("SecretArn", "")}
    if not (arn := _SEEN[key]["arn"]):
        raise Refused(
            f"RDS does not manage the password of {name}",
            measured=f"passfile={MANAGED}, and the instance has no managed secret",
            next_step="set manage_master_user_password in Terraform, or correct passfile in the inventory",
        )
    return arn


def _on_rds(host: str, passfile: str) -> str:
    """Returns the AWS region of an RDS host."""
    if found := _RDS.search(host):
        return found["region"]
    raise Refused(
        f"{host or 'this machine'} is not an address of RDS",
        measured=f"passfile={passfile}",
        allowed="the RDS endpoint (....rds.amazonaws.com), not another name for it",
        next_step="correct host or passfile in the inventory's connection string",
    )


def _token(given: Mapping[str, Any]) -> str:
    host, user = str(given.get("host", "")), str(given.get("user", ""))
    region = _on_rds(host, IAM)
    if not user:
        raise Refused(
            f"an IAM token for {host} needs a user",
            measured=f"passfile={IAM}, and no user",
            next_step="add user= to the inventory's connection string",
        )
    client = aws.Aws(region).client("rds")
    with aws.translated_errors(f"log in to {host} as {user}"):
        token: str = client.generate_db_auth_token(
            DBHostname=host, Port=int(given.get("port", 5432)), DBUsername=user, Region=region
        )
    return token
