"""Checks for everything that would stop the migration or lose a row, before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.external import atomic_file
from task_migration.external.loopback import on_this_machine
from task_migration.mapping import mapping_directory
from task_migration.mapping.table_mapping import captured_tables, mappings
from task_migration.outcome import Outcome
from task_migration.postgres import credentials, database, schema_drift
from task_migration.prepare import copy_ledger, user_mapping

_FILE = "prepare/preflight.sql"
OLDEST_SERVER = 140000
GREATEST_INTEGER = 2**31 - 1
MONTHS_AHEAD = 12
TITLE_OF_THE_PLAN = 100

_OWN_TABLE = "cognito_user_mapping"


@dataclass(frozen=True)
class PreflightFinding:
    """One finding. ``stop`` refuses the phase, ``warn`` is information for the operator, ``ok`` needs no action."""

    name: str
    level: Literal["stop", "warn", "ok"]
    found: str
    count: int = 0
    sample_keys: tuple[Any, ...] = ()
    fix: str = ""

    def __str__(self) -> str:
        keys = f" (ids {', '.join(map(str, self.sample_keys))})" if self.sample_keys else ""
        fix = f"; fix: {self.fix}" if self.fix else ""
        return f"{self.level.upper():4} {self.name}: {self.found}{keys}{fix}"


@dataclass(frozen=True)
class _Asked:
    """The settings of the inventory that the findings depend on."""

    laravel: database.Side
    timezone: str
    title_policy: str
    id_policy: str
    offset: int


def preflight(
    *,
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_timezone: str,
    s3_bucket: str,
    title_policy: Literal["widen", "refuse"] = "widen",
    id_policy: Literal["refuse", "bigint"] = "refuse",
    task_service_id_offset: int = 1_000_000_000,
    report_directory: str,
    check: bool = False,
) -> Outcome:
    """Checks both databases, writes preflight.json to ``report_directory``, and returns the findings.

    Details: ``findings``, each with name, level, found, count, sample_keys and fix. Raises Refused with all findings
    that stop the migration, if there are any. Writes nothing but that file.
    """
    laravel = database.laravel(laravel_dsn, timezone=laravel_timezone, s3_bucket=s3_bucket)
    asked = _Asked(laravel, laravel_timezone, title_policy, id_policy, task_service_id_offset)
    with database.translated_errors(laravel), database.connect(laravel, "preflight") as connection:
        findings = list(_may_look(connection, asked))
        if not any(finding.level == "stop" for finding in findings):
            findings += _looked(connection, asked)
    findings += _target(database.task_service(task_service_dsn))
    path = Path(report_directory) / "preflight.json"
    if not check:
        _write(path, findings)
    return _judged(findings, "" if check else f"; as JSON: {path}")


def _judged(findings: list[PreflightFinding], written: str) -> Outcome:
    stops = [finding for finding in findings if finding.level == "stop"]
    if stops:
        raise Refused(
            "; ".join(f"{stop.name}: {stop.found}" for stop in stops),
            next_step="; ".join(dict.fromkeys(stop.fix for stop in stops if stop.fix)),
        )
    warnings = sum(finding.level == "warn" for finding in findings)
    return Outcome(
        False,
        f"preflight: {len(findings)} findings, 0 stop the migration, {warnings} warnings{written}",
        {"findings": [asdict(finding) for finding in findings]},
        tuple(map(str, findings)),
    )


def _write(path: Path, findings: list[PreflightFinding]) -> None:
    text = json.dumps(
        {
            "looked_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "findings": [asdict(finding) for finding in findings],
        },
        ensure_ascii=False,
        indent=2,
    )
    atomic_file.write(path, text + "\n")


def _may_look(connection: database.Connection, asked: _Asked) -> Iterator[PreflightFinding]:
    """Yields findings on server, tables, privileges, columns and time zone, which all other findings need."""
    version, role, dbname = _row(connection, "server")
    if version < OLDEST_SERVER:
        yield PreflightFinding(
            "server",
            "stop",
            f"PostgreSQL {version // 10000}, but CREATE OR REPLACE TRIGGER needs version 14",
            fix="upgrade Laravel's database server to PostgreSQL 14 or newer",
        )
    yield _tls(connection)
    tables = [*(table for table in captured_tables() if table != _OWN_TABLE), "users"]
    missing = _column(connection, "missing tables", tables=tables)
    if missing:
        yield PreflightFinding(
            "tables",
            "stop",
            f"missing: {', '.join(missing)}",
            len(missing),
            fix="correct laravel_dsn in the inventory: it must be the database of the monolith",
        )
        return
    owners = _column(connection, "owners without membership", tables=tables)
    unreadable = _column(connection, "unreadable tables", tables=tables)
    may_create, may_create_in_public, may_see_load = _row(connection, "may create")
    grants = [f"GRANT {_name(owner)} TO {_name(role)}" for owner in owners]
    if not owners:
        grants += [f"GRANT SELECT ON {_name(table)} TO {_name(role)}" for table in unreadable]
    if not may_create:
        grants.append(f"GRANT CREATE ON DATABASE {_name(dbname)} TO {_name(role)}")
    if not may_create_in_public:
        grants.append(f"GRANT CREATE ON SCHEMA public TO {_name(role)}")
    if grants:
        yield PreflightFinding(
            "privileges",
            "stop",
            f"{role} needs {len(grants)} more; only a table's owner or a member of it may create and drop triggers",
            len(grants),
            fix=f"{'; '.join(grants)};",
        )
    yield from _row_security(connection, tables)
    if not may_see_load:
        yield PreflightFinding(
            "load of Laravel",
            "warn",
            f"{role} cannot see other sessions, so copy_max_laravel_load has no effect",
            fix=f"GRANT pg_read_all_stats TO {_name(role)};",
        )
    if differences := schema_drift.drift(connection):
        yield PreflightFinding(
            "columns",
            "stop",
            "; ".join(differences),
            len(differences),
            fix=f"add each to the ledger of {mapping_directory.described('mapping')}/ as moved, derived or kept",
        )
    (known,) = _row(connection, "time zone known", timezone=asked.timezone)
    if not known:
        yield PreflightFinding(
            "laravel_timezone",
            "stop",
            f"Laravel's database server does not know the time zone {asked.timezone}",
            fix="set laravel_timezone in the inventory to Laravel's APP_TIMEZONE, such as Asia/Tokyo",
        )


def _tls(connection: database.Connection) -> PreflightFinding:
    """Returns the finding on TLS, as this end of the session sees it: a proxy before the server may end TLS."""
    given = credentials.parts(connection.side.dsn)
    name = "tls" if connection.side.name == "laravel" else "tls of the target"
    fix = f"sslmode=verify-full in {connection.side.name}_dsn"
    if not connection.pgconn.ssl_in_use:
        is_here = on_this_machine(str(given.get("host", "")))
        return PreflightFinding(name, "ok" if is_here else "warn", "off", fix="" if is_here else fix)
    mode = str(given.get("sslmode", "prefer"))
    if mode == "verify-full":
        return PreflightFinding(name, "ok", "on, and the server's certificate is verified (verify-full)")
    return PreflightFinding(name, "warn", f"on, but the server is not verified (sslmode={mode})", fix=fix)


def _row_security(connection: database.Connection, tables: Sequence[str]) -> Iterator[PreflightFinding]:
    """Yields a finding for each login of the runbook from which policies hide rows: it would call them deleted."""
    roles = {connection.role}
    if credentials.is_by_role(connection.side.dsn):
        given = conninfo_to_dict(connection.side.dsn)
        roles |= {credentials.for_role(str(given["user"]), role) for role in {*database.ROLES.values(), "reader"}}
    statement = sql_files.statement(_FILE, "filtered by row security")
    for login, filtered in connection.execute(statement, {"logins": sorted(roles), "tables": list(tables)}):
        yield PreflightFinding(
            "row security" if connection.side.name == "laravel" else "row security of the target",
            "stop",
            f"policies hide rows of {', '.join(filtered)} from {login}, which would take them as deleted",
            len(filtered),
            fix=f"ALTER ROLE {_name(login)} BYPASSRLS;",
        )


def _looked(connection: database.Connection, asked: _Asked) -> Iterator[PreflightFinding]:
    if any(mapping.base_table == "tasks" for mapping in mappings()):
        yield from _tasks(connection, asked)
    number, longest = _row(connection, "long transactions")
    yield PreflightFinding(
        "long transactions",
        "warn" if number else "ok",
        f"{number} open for over a minute, the longest {longest} s; CREATE TRIGGER waits for them"
        if number
        else "none",
        number,
    )


def _tasks(connection: database.Connection, asked: _Asked) -> Iterator[PreflightFinding]:
    yield from _titles(connection, asked)
    yield from _ids(connection, asked)
    yield from _users(connection)
    yield _counted(
        connection,
        "priority",
        "priorities out of range",
        "tasks with a priority outside 1 to 5",
        "they are quarantined",
        "correct tasks.priority in Laravel",
    )
    yield _counted(
        connection,
        "s3_url",
        "object addresses too long",
        "images whose URL may be longer than 1000 characters",
        "the Task Service's database would refuse them",
        "rename the objects in S3 to shorter names",
    )
    yield _counted(
        connection,
        "time zone",
        "times in the future",
        "tasks with a created_at more than an hour in the future",
        "laravel_timezone is probably wrong",
        "set laravel_timezone in the inventory to Laravel's APP_TIMEZONE",
    )


def _titles(connection: database.Connection, asked: _Asked) -> Iterator[PreflightFinding]:
    count, keys = _row(connection, "titles longer than 100")
    if count and asked.title_policy == "refuse":
        yield PreflightFinding(
            "titles",
            "stop",
            f"{count} tasks have a title longer than {TITLE_OF_THE_PLAN} characters (ids {_some(keys)}), and "
            "title_policy is refuse",
            count,
            tuple(keys),
            "shorten them in Laravel, or set title_policy: widen in the inventory",
        )
    else:
        yield PreflightFinding(
            "titles",
            "ok",
            f"{count} longer than {TITLE_OF_THE_PLAN} characters; "
            + ("the Task Service's column is widened to 255" if asked.title_policy == "widen" else "all fit"),
            count,
            tuple(keys or ()),
        )


def _ids(connection: database.Connection, asked: _Asked) -> Iterator[PreflightFinding]:
    of_all, greatest, beyond = _row(connection, "greatest ids", offset=asked.offset)
    (a_month,) = _row(connection, "ids of the last 30 days", offset=asked.offset)
    if of_all > GREATEST_INTEGER and asked.id_policy == "refuse":
        yield PreflightFinding(
            "ids",
            "stop",
            f"the highest id is {of_all}, but the Task Service's INTEGER columns end at {GREATEST_INTEGER}",
            fix="set id_policy: bigint and a task_service_id_offset above Laravel's ids in the inventory",
        )
    if greatest >= asked.offset:
        yield PreflightFinding(
            "ids apart",
            "stop",
            f"the highest id is {greatest}, but the Task Service's own ids start at {asked.offset}",
            fix="set task_service_id_offset in the inventory above Laravel's ids, with room to grow",
        )
    elif beyond:
        yield PreflightFinding(
            "ids apart",
            "warn",
            f"{beyond} rows have ids from {asked.offset} on that Laravel's sequences did not assign; they are probably "
            "from an earlier migration attempt",
            fix="if so, nothing: the Task Service's ids continue above them; else set a higher task_service_id_offset",
        )
    elif greatest + MONTHS_AHEAD * a_month >= asked.offset:
        yield PreflightFinding(
            "ids apart",
            "warn",
            f"the highest id is {greatest}, and {a_month} ids were assigned in 30 days, so Laravel reaches "
            f"{asked.offset} within a year",
            fix="set a higher task_service_id_offset in the inventory",
        )
    else:
        yield PreflightFinding(
            "ids", "ok", f"the highest id is {greatest}; {asked.offset - greatest} ids are left for Laravel"
        )


def _users(connection: database.Connection) -> Iterator[PreflightFinding]:
    try:
        user_mapping.require_no_doubt(connection)
    except Refused as doubt:
        yield PreflightFinding("users", "stop", f"{doubt.what} ({doubt.measured})", fix=doubt.next_step)
    (mapped,) = _row(connection, "mapped users")
    without = _counted(
        connection,
        "users",
        "users without a sub",
        f"users with tasks have no Cognito sub ({mapped} have one)",
        "their tasks are quarantined as owner_unmapped",
        "move these users to Cognito; their tasks are then migrated automatically",
    )
    yield without
    yield _counted(
        connection,
        "approvers",
        "approvers without a sub",
        "tasks were approved by a user without a Cognito sub",
        "they are migrated without an approver",
        "move the approvers to Cognito",
    )


def _target(side: database.Side) -> Iterator[PreflightFinding]:
    """Yields the findings on the Task Service's database, if it exists already."""
    connection = database.connect_if_there(side, "preflight")
    if connection is None:
        yield PreflightFinding("target", "ok", f"no database at {side.address} yet; phase 2.1 creates it")
        return
    with database.translated_errors(side), connection:
        yield _tls(connection)
        filtered = list(_row_security(connection, [mapping.table for mapping in mappings()]))
        if filtered:
            yield from filtered
            return
        foreign = [
            mapping.table
            for mapping in mappings()
            if copy_ledger.holds_rows(connection, mapping.table)
            and not copy_ledger.is_planned(connection, mapping.table)
        ]
    if foreign:
        yield PreflightFinding(
            "target",
            "stop",
            f"{', '.join(foreign)} contain rows that the runbook did not copy",
            len(foreign),
            fix="find out who wrote these rows; to remove the whole target: ansible-playbook rollback-2.1.yml",
        )
    else:
        yield PreflightFinding("target", "ok", "empty, or filled by the runbook's copy")


def _counted(
    connection: database.Connection, name: str, statement: str, found: str, effect: str, fix: str
) -> PreflightFinding:
    """Returns a warning if the statement counts any rows."""
    count, keys = _row(connection, statement)
    if not count:
        return PreflightFinding(name, "ok", f"0 {found}")
    return PreflightFinding(name, "warn", f"{count} {found}; {effect}", count, tuple(keys), fix)


def _some(keys: list[Any]) -> str:
    return ", ".join(map(str, keys))


def _name(identifier: str) -> str:
    return sql.Identifier(identifier).as_string(None)


def _row(connection: database.Connection, name: str, **parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(sql_files.statement(_FILE, name), parameters or None).fetchone()
    assert row is not None
    return row


def _column(connection: database.Connection, name: str, **parameters: Any) -> list[Any]:
    return [value for (value,) in connection.execute(sql_files.statement(_FILE, name), parameters)]
