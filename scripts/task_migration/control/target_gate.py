"""The guard before any write: checks that the AWS account and both databases are the inventory's.

Inventories are written by hand, and a write to the wrong database cannot be undone. So the identities are compared
before the operator's lock is taken, and before anything else is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from psycopg.conninfo import make_conninfo

from task_migration.control.environment_stamp import Identity, Stamp, identity
from task_migration.errors import MigrationError, Refused
from task_migration.external import caller_identity
from task_migration.external.aws import ATTEMPTS, READ_TIMEOUT_SECONDS, Aws
from task_migration.outcome import Outcome
from task_migration.postgres import database

ROLLBACK_TIMEOUT_SECONDS = 3
"""How long a rollback waits for a database, or for AWS, before it continues without comparing it."""
_AGAIN = "then the same command again"


def target_gate(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    migration_environment: str,
    laravel_system_identifier: str = "",
    task_service_system_identifier: str = "",
    aws_account_id: str = "",
    aws: Aws,
    environment_confirmation: Literal["ask", "none"] = "none",
    answer: str = "",
    is_rollback: bool = False,
    check: bool = False,
) -> Outcome:
    """Refuses a target that is not the inventory's, and a wrong environment name. Changes nothing.

    An empty system identifier is taken from the stamp; without a stamp it is not compared. An empty ``aws_account_id``
    is not compared. ``answer`` is the environment's name as typed, or ``ask`` to find out whether a question is needed.
    With ``is_rollback`` nothing is asked, and a target that cannot be reached is not compared; one that does not match
    is refused all the same. Details: ``compared``, what was found at ``aws``, ``laravel`` and
    ``task_service``; ``asks`` and ``question``. Raises Refused with what was found and what the inventory says.
    """
    compared: dict[str, str] = {}
    unknown: list[str] = []
    if aws_account_id:
        try:
            compared["aws"] = _account(aws, aws_account_id, is_rollback)
        except _Wrong:
            raise
        except MigrationError as error:
            if not is_rollback:
                raise
            unknown.append(error.what)
    sides = (
        (database.laravel(laravel_dsn), laravel_system_identifier),
        (database.task_service(task_service_dsn), task_service_system_identifier),
    )
    for side, wanted in sides:
        if not side.dsn.strip():
            unknown.append(f"{side.title}: it does not exist yet")
            continue
        asked = (
            replace(side, dsn=make_conninfo(side.dsn, connect_timeout=ROLLBACK_TIMEOUT_SECONDS))
            if is_rollback
            else side
        )
        try:
            with database.translated_errors(side), database.read_only(asked, "target") as connection:
                found = identity(connection)
        except MigrationError as error:
            # The Task Service's database may not exist before phase 2.1, and without a login nothing can be written.
            if side.name == "laravel" and not is_rollback:
                raise
            unknown.append(error.what)
            continue
        _refuse_another(side, found, migration_environment, wanted)
        compared[side.name] = f"{side.address}, system identifier {found.system_identifier or 'unknown'}"
    asks = _asks(migration_environment, environment_confirmation, answer, is_rollback, check)
    return Outcome(
        False,
        f"target: {migration_environment}" + (f"; not compared: {'; '.join(unknown)}" if unknown else ""),
        {
            "compared": compared,
            "asks": asks,
            "question": f"This is {migration_environment}. Type the environment's name to continue" if asks else "",
        },
        tuple(_lines(compared)),
    )


class _Wrong(Refused):
    """The target is not the inventory's (and not merely unreachable)."""


def _account(aws: Aws, aws_account_id: str, is_rollback: bool) -> str:
    found = caller_identity.caller(
        aws,
        attempts=1 if is_rollback else ATTEMPTS,
        read_timeout_seconds=ROLLBACK_TIMEOUT_SECONDS if is_rollback else READ_TIMEOUT_SECONDS,
    )
    if found.account != aws_account_id:
        raise _Wrong(
            "the AWS credentials of this machine belong to another account",
            measured=f"account {found.account}, {found.arn}",
            allowed=f"account {aws_account_id} (aws_account_id in the inventory)",
            next_step=f"export AWS_PROFILE=... of that account, {_AGAIN}",
        )
    # The runbook's own calls use the inventory's region; Terraform uses the shell's.
    region = "" if is_rollback else caller_identity.region_of_shell()
    if region not in ("", aws.aws_region):
        raise _Wrong(
            "this shell is set to another AWS region",
            measured=region,
            allowed=f"{aws.aws_region} (aws_region in the inventory), or none",
            next_step=f"export AWS_REGION={aws.aws_region}, {_AGAIN}",
        )
    return f"account {found.account}, {aws.aws_region}"


def _refuse_another(side: database.Side, found: Identity, environment: str, wanted: str) -> None:
    where = f"{side.title} ({side.address})"
    name = f"{side.name}_system_identifier"
    stamp = found.stamp
    if stamp is not None and stamp.environment != environment:
        raise _Wrong(
            f"{where} belongs to another environment",
            measured=f"it is {stamp}",
            allowed=f"{environment}, the inventory's environment",
            next_step=(
                f"the same command with -i ../inventories/{stamp.environment}; only if this database is a copy made "
                "for this environment, run in it: DROP SCHEMA task_migration CASCADE"
            ),
        )
    if wanted and not found.system_identifier:
        raise _Wrong(
            f"the identity of {where} cannot be checked",
            measured="this login may not read the server's system identifier",
            allowed=f"{wanted} ({name} in the inventory)",
            next_step="as a superuser: GRANT EXECUTE ON FUNCTION pg_control_system() TO <that login>",
        )
    expected, by = (wanted, f"{name} in the inventory") if wanted else _stamped(stamp)
    if expected and found.system_identifier and found.system_identifier != expected:
        raise _Wrong(
            f"{where} is on another server than expected",
            measured=f"system identifier {found.system_identifier}",
            allowed=f"{expected} ({by})",
            next_step=(
                f"correct {side.name}_dsn in the inventory: this is a copy or another database; only if it is the same "
                f"server after a major upgrade, set {name}: '{found.system_identifier}' in the inventory"
            ),
        )
    is_stamped_here = stamp is not None and stamp.system_identifier == found.system_identifier != ""
    if stamp is not None and is_stamped_here and stamp.database_oid != found.database_oid:
        raise _Wrong(
            f"{where} is a copy of the expected database, on the same server",
            measured=f"oid {found.database_oid}",
            allowed=f"oid {stamp.database_oid} ({stamp})",
            next_step=(
                f"correct dbname in {side.name}_dsn in the inventory; only if you want to use the copy, run in it: "
                "DROP SCHEMA task_migration CASCADE"
            ),
        )


def _stamped(stamp: Stamp | None) -> tuple[str, str]:
    return (stamp.system_identifier, str(stamp)) if stamp is not None else ("", "")


def _asks(environment: str, confirmation: str, answer: str, is_rollback: bool, check: bool) -> bool:
    """Returns whether to ask. Raises Refused for a wrong name, or for no name where one is required."""
    if answer == environment or (confirmation == "none" and answer in ("", "ask")):
        return False
    if (is_rollback or check) and answer in ("", "ask"):
        return False
    if answer == "ask":
        return True
    raise _Wrong(
        f"the environment {environment} was not confirmed",
        measured=f"the answer {answer!r}" if answer else "no answer",
        allowed=environment,
        next_step=f"the same command with -e environment_confirmed={environment}, or type that name when asked",
    )


def _lines(compared: dict[str, str]) -> Iterator[str]:
    titles = {"aws": "AWS", "laravel": "Laravel's database", "task_service": "the Task Service's database"}
    return (f"{titles[name]}: {found}" for name, found in compared.items())
