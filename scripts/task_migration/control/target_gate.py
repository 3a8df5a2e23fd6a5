"""The guard before any write: the AWS account and both databases are those that the inventory means.

Every command is typed at night, with an inventory that somebody filled in by hand: what is written to the wrong place
can't be taken back. So before the operator's lock, and before anything else is written, it is asked who answers there.
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

WAY_HOME_SECONDS = 3
"""So long may a way home wait for a database, or for AWS, before it goes on without."""
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
    way_home: bool = False,
    check: bool = False,
) -> Outcome:
    """Refuses a target that is not the inventory's, and who does not name the environment; looks only.

    A system identifier that is "" is taken from the stamp; without a stamp too, whatever answers is taken. An
    ``aws_account_id`` that is "" is not compared. ``answer`` is the environment's name as it was typed, or ``ask`` to
    be told whether there is something to ask. A ``way_home`` asks nobody, and what can't be asked does not stand in its
    way; what contradicts does. Details: ``compared``, what answered where, by ``aws``, ``laravel`` and
    ``task_service``; ``asks`` and ``question``. Raises Refused with what was measured and what the inventory says.
    """
    compared: dict[str, str] = {}
    unknown: list[str] = []
    if aws_account_id:
        try:
            compared["aws"] = _account(aws, aws_account_id, way_home)
        except _Wrong:
            raise
        except MigrationError as error:
            if not way_home:
                raise
            unknown.append(error.what)
    sides = (
        (database.laravel(laravel_dsn), laravel_system_identifier),
        (database.task_service(task_service_dsn), task_service_system_identifier),
    )
    for side, wanted in sides:
        if not side.dsn.strip():
            unknown.append(f"{side.title}: there is none yet")
            continue
        asked = replace(side, dsn=make_conninfo(side.dsn, connect_timeout=WAY_HOME_SECONDS)) if way_home else side
        try:
            with database.translated_errors(side), database.read_only(asked, "target") as connection:
                found = identity(connection)
        except MigrationError as error:
            # Whom the Task Service's does not let in now can't write there; phase 2.1 comes before it is made.
            if side.name == "laravel" and not way_home:
                raise
            unknown.append(error.what)
            continue
        _refuse_another(side, found, migration_environment, wanted)
        compared[side.name] = f"{side.address}, system identifier {found.system_identifier or 'unknown'}"
    asks = _asks(migration_environment, environment_confirmation, answer, way_home, check)
    return Outcome(
        False,
        f"target: {migration_environment}" + (f"; not compared: {'; '.join(unknown)}" if unknown else ""),
        {
            "compared": compared,
            "asks": asks,
            "question": f"This is {migration_environment}. Type the environment's name to go on" if asks else "",
        },
        tuple(_lines(compared)),
    )


class _Wrong(Refused):
    """Somebody else's target, and not one that gave no answer."""


def _account(aws: Aws, aws_account_id: str, way_home: bool) -> str:
    found = caller_identity.caller(
        aws,
        attempts=1 if way_home else ATTEMPTS,
        read_timeout_seconds=WAY_HOME_SECONDS if way_home else READ_TIMEOUT_SECONDS,
    )
    if found.account != aws_account_id:
        raise _Wrong(
            "the AWS credentials of this machine are of another account",
            measured=f"account {found.account}, {found.arn}",
            allowed=f"account {aws_account_id}, as the inventory says (aws_account_id)",
            next_step=f"export AWS_PROFILE=... of that account, {_AGAIN}",
        )
    # Our own calls go to the inventory's region whatever the shell says; Terraform reads the shell.
    region = "" if way_home else caller_identity.region_of_shell()
    if region not in ("", aws.aws_region):
        raise _Wrong(
            "this shell is set to another AWS region",
            measured=region,
            allowed=f"{aws.aws_region}, as the inventory says (aws_region), or none",
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
            allowed=f"{environment}, as the inventory says",
            next_step=(
                f"the inventory that it belongs to: -i ../inventories/{stamp.environment}; if it is a copy that was "
                "made for here, DROP SCHEMA task_migration CASCADE in the copy lets it forget where it came from"
            ),
        )
    if wanted and not found.system_identifier:
        raise _Wrong(
            f"nobody can tell whether {where} is the one that the inventory names",
            measured="this login may not ask the server for its system identifier",
            allowed=f"{wanted} ({name})",
            next_step="GRANT EXECUTE ON FUNCTION pg_control_system() TO that login",
        )
    expected, by = (wanted, f"as the inventory says ({name})") if wanted else _stamped(stamp)
    if expected and found.system_identifier and found.system_identifier != expected:
        raise _Wrong(
            f"{where} is on another server than the one that is meant",
            measured=f"system identifier {found.system_identifier}",
            allowed=f"{expected}, {by}",
            next_step=(
                f"correct {side.name}_dsn in the inventory: this is a copy, or something else; only if it is that very "
                f"server after a major upgrade, write {name}: '{found.system_identifier}' there"
            ),
        )
    is_stamped_here = stamp is not None and stamp.system_identifier == found.system_identifier != ""
    if stamp is not None and is_stamped_here and stamp.database_oid != found.database_oid:
        raise _Wrong(
            f"{where} is a copy, on the same server, of the database that is meant",
            measured=f"oid {found.database_oid}",
            allowed=f"oid {stamp.database_oid}, as it was {stamp}",
            next_step=(
                f"correct the dbname in {side.name}_dsn; if the copy is meant, DROP SCHEMA task_migration CASCADE in "
                "the copy lets it forget where it came from"
            ),
        )


def _stamped(stamp: Stamp | None) -> tuple[str, str]:
    return (stamp.system_identifier, f"as it was {stamp}") if stamp is not None else ("", "")


def _asks(environment: str, confirmation: str, answer: str, way_home: bool, check: bool) -> bool:
    """Whether the question is still to be put. Raises Refused for another name, or none where one is asked for."""
    if answer == environment or (confirmation == "none" and answer in ("", "ask")):
        return False
    if (way_home or check) and answer in ("", "ask"):
        return False
    if answer == "ask":
        return True
    raise _Wrong(
        f"nobody said that this is meant for {environment}",
        measured=f"the answer {answer!r}" if answer else "no answer",
        allowed=environment,
        next_step=f"the same command with -e environment_confirmed={environment}, or type that name when you are asked",
    )


def _lines(compared: dict[str, str]) -> Iterator[str]:
    titles = {"aws": "AWS", "laravel": "Laravel's database", "task_service": "the Task Service's database"}
    return (f"{titles[name]}: {told}" for name, told in compared.items())
