"""How a connection string becomes a login: which role, over which TLS, with a password from where.

A connection string holds no password. Its ``passfile`` names where one is kept, to be fetched when a session begins:

``/path/to/file``
    a file of libpq's, mode 0600
``arn:aws:secretsmanager:...``
    a secret in AWS Secrets Manager that holds {"username": ..., "password": ...}, as RDS keeps its master login
``rds-managed``
    the same for the login that RDS keeps itself: which secret that is, RDS tells, as each new instance has another
``rds-iam``
    none is kept: a token of IAM's, good for 15 minutes, for the role's own name

``{role}`` in it, in the user or in the passfile, is replaced by what the session is for: see database_roles.yml.
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
"""Secrets that were fetched, by their ARN, for the life of this process: until a login with one of them fails."""


def for_role(dsn: str, role: str) -> str:
    """A connection string as one of the database roles uses it; without ``{role}`` in it, the same for all."""
    return dsn.replace(TEMPLATE, role)


def is_by_role(dsn: str) -> bool:
    """Whether each purpose has a login of its own."""
    return TEMPLATE in dsn


def parts(dsn: str) -> dict[str, Any]:
    """libpq's parameters, with TLS as it has to be: off this machine ``verify-full`` unless the string says otherwise,
    and against the certificates of Amazon RDS where the host is one of RDS's."""
    given: dict[str, Any] = dict(conninfo_to_dict(dsn))
    host = str(given.get("host", ""))
    if not on_this_machine(host):
        given.setdefault("sslmode", "verify-full")
        if _RDS.search(host) and str(given["sslmode"]).startswith("verify"):
            given.setdefault("sslrootcert", str(files("task_migration") / "postgres" / "rds_roots.pem"))
    return given


def is_kept_elsewhere(dsn: str) -> bool:
    """Whether the password can have changed since it was fetched: it is in Secrets Manager."""
    passfile = str(conninfo_to_dict(dsn).get("passfile", ""))
    return passfile == MANAGED or bool(_SECRET.fullmatch(passfile))


def login(dsn: str, *, renewed: bool = False) -> str:
    """The connection string with what libpq needs to log in; it may hold a password, and is for libpq alone.

    ``renewed`` fetches a secret again, after a login with it has failed. Raises Refused if there is no such secret, if
    it is another user's, or if IAM can't sign for this host.
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
                "the secret is another user's",
                measured=f"{passfile} is of {kept['username']}",
                allowed=str(given["user"]),
                next_step="correct user or passfile in the inventory's connection string",
            )
        given["password"] = kept["password"]
    elif passfile == IAM:
        del given["passfile"]
        given["password"] = _token(given)
    return make_conninfo("", **given)


def keep(dsn: str, password: str) -> None:
    """Puts a new password where the connection string says that it is kept: a line of the file, or a secret."""
    given = parts(dsn)
    user, passfile = str(given["user"]), str(given["passfile"])
    if secret := _SECRET.fullmatch(passfile):
        _SEEN.pop(passfile, None)
        text = json.dumps({"username": user, "password": password})
        client = _secrets_manager(secret["region"])
        with aws.translated_errors(f"keep the secret {passfile}", writes=True):
            try:
                client.put_secret_value(SecretId=passfile, SecretString=text)
            except client.exceptions.ResourceNotFoundException:
                client.create_secret(Name=secret["name"], SecretString=text)
        return
    line = f"{given.get('host', 'localhost')}:{given.get('port', 5432)}:*:{user}:{password}"
    _rewrite(Path(passfile), user, given, [line])


def forget(dsn: str) -> None:
    """Takes away what ``keep`` kept; what is not there is forgotten already."""
    given = parts(dsn)
    passfile = str(given.get("passfile", ""))
    if secret := _SECRET.fullmatch(passfile):
        _SEEN.pop(passfile, None)
        client = _secrets_manager(secret["region"])
        with aws.translated_errors(f"take away the secret {passfile}", writes=True):
            try:
                client.delete_secret(SecretId=passfile, ForceDeleteWithoutRecovery=True)
            except client.exceptions.ResourceNotFoundException:
                return
    elif passfile not in (IAM, MANAGED) and Path(passfile).exists():
        _rewrite(Path(passfile), str(given["user"]), given, [])


def _rewrite(passfile: Path, user: str, given: Mapping[str, Any], new: list[str]) -> None:
    """The file with other lines for one user of one server; a file without a line goes."""
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
            f"the secret {arn} holds no login",
            measured="not the JSON that RDS keeps",
            allowed='{"username": "...", "password": "..."}',
            next_step="correct passfile in the inventory's connection string, or the secret",
        )
    return {key: kept[key] for key in ("username", "password")}


def _managed(given: Mapping[str, Any], renewed: bool) -> str:
    """The ARN of the secret in which RDS keeps its own login to this host."""
    host = str(given.get("host", ""))
    region, name = _on_rds(host, MANAGED), host.split(".")[0]
    key = f"{MANAGED} {host}"
    if renewed:
        _SEEN.pop(key, None)
    if key not in _SEEN:
        client = aws.Aws(region, os.environ.get("AWS_ENDPOINT_URL_RDS", "")).client("rds")
        with aws.translated_errors(f"look at the database {name}"):
            (instance,) = client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
        _SEEN[key] = {"arn": instance.get("MasterUserSecret", {}).get("SecretArn", "")}
    if not (arn := _SEEN[key]["arn"]):
        raise Refused(
            f"RDS does not keep the password of {name} itself",
            measured=f"passfile={MANAGED}, and the instance has no managed secret",
            next_step="let Terraform make it with manage_master_user_password, or name another passfile",
        )
    return arn


def _on_rds(host: str, passfile: str) -> str:
    """The region in which RDS runs this host."""
    if found := _RDS.search(host):
        return found["region"]
    raise Refused(
        f"{host or 'this machine'} is not RDS's own address",
        measured=f"passfile={passfile}",
        allowed="the database's own address (....rds.amazonaws.com), not another name for it",
        next_step="correct host in the inventory's connection string, or name another passfile",
    )


def _token(given: Mapping[str, Any]) -> str:
    host, user = str(given.get("host", "")), str(given.get("user", ""))
    region = _on_rds(host, IAM)
    if not user:
        raise Refused(
            f"IAM has no token for nobody on {host}",
            measured=f"passfile={IAM}, and no user",
            next_step="name user in the inventory's connection string",
        )
    client = aws.Aws(region).client("rds")
    with aws.translated_errors(f"log in to {host} as {user}"):
        token: str = client.generate_db_auth_token(
            DBHostname=host, Port=int(given.get("port", 5432)), DBUsername=user, Region=region
        )
    return token
