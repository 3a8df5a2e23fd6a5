"""Creates one login for each purpose on both sides, with the privileges in database_roles.yml and no others.

They are created by a login with CREATEROLE (the connection strings ``*_admin_dsn``), which the migration uses for
nothing else. If a connection string has no ``{role}`` in it, one login does everything, and no roles are created.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from task_migration import sql_files
from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.postgres import credentials, database, grants

ROLES = ("owner", "sync", "writer", "verifier", "reader")
KEPT = ("reader",)
"""The roles that remain after the migration: status.yml reads the journal with it."""


def database_roles(
    *,
    side: Literal["laravel", "task_service"],
    laravel_dsn: str,
    task_service_dsn: str,
    laravel_admin_dsn: str = "",
    task_service_admin_dsn: str = "",
    state: Literal["present", "renewed", "absent", "reader"] = "present",
    check: bool = False,
) -> Outcome:
    """Creates the roles of one side with their passwords and grants, or drops them: all, or all but the reader.

    A role that exists and whose password this machine does not have gets a new password only with ``renewed``, because
    another machine may be using the current one. The objects of a dropped role then belong to the owner of Laravel's
    tables, or to the Task Service's admin. Details: ``roles`` that were created or dropped, those that are ``there``
    now, and ``grants``, how many were missing. Raises Refused without an admin's connection string, and if the admin
    has no permission.
    """
    served = database.laravel(laravel_dsn) if side == "laravel" else database.task_service(task_service_dsn)
    admin_side = replace(served, dsn=laravel_admin_dsn if side == "laravel" else task_service_admin_dsn)
    if not credentials.is_by_role(served.dsn):
        return _nothing(f"one login does everything on {served.title}")
    if not admin_side.dsn:
        raise Refused(
            f"a login that can create the roles on {served.title} is missing",
            measured=f"{side}_admin_dsn is empty, and {side}_dsn has {credentials.TEMPLATE} in it",
            next_step=f"set {side}_admin_dsn in the inventory to the connection string of a login with CREATEROLE",
        )
    with database.translated_errors(admin_side):
        # The Task Service's database may not exist yet.
        enter = database.connect if side == "laravel" else database.connect_if_there
        admin = enter(admin_side, "roles")
        if admin is None:
            return _nothing(f"no database at {admin_side.address} yet; phase 2.1 creates the roles with the database")
        with admin:
            if state in ("present", "renewed"):
                return _present(admin, served, state == "renewed", check)
            return _absent(admin, served, KEPT if state == "reader" else (), check)


def _nothing(why: str) -> Outcome:
    return Outcome(False, f"database roles: {why}", {"roles": [], "there": [], "grants": 0})


def _present(admin: database.Connection, side: database.Side, renewed: bool, check: bool) -> Outcome:
    there = _there(admin, side)
    closed = [role for role in there if not _opens(side, role)]
    if closed and not renewed:
        raise _not_ours(side, closed)
    new = [role for role in ROLES if role not in there or role in closed]
    if check and new:
        return _outcome(side, new, there, "would be created")
    if check:
        with database.connect(side, "making grants") as owner:
            number = len(grants.lacking(owner)) + sum(not _is_member(admin, *one) for one in _memberships(admin, side))
        return _outcome(side, new, there, "would be created", number)
    with _allowed(admin), admin.transaction():
        database_name = sql.Identifier(_me(admin)[1])
        for role in (role for role in ROLES if role not in there):
            admin.execute(sql_files.statement(grants.FILE, "create role", role=_login(side, role)))
        joined = sum([_become(admin, *one) for one in _memberships(admin, side)])
        for role in ROLES:
            admin.execute(
                sql_files.statement(
                    grants.FILE,
                    "let the owner create objects" if role == grants.OWNER else "let in",
                    database=database_name,
                    role=_login(side, role),
                )
            )
    for role in new:
        _give_password(admin, side, role)
    with database.connect(side, "making grants") as owner:
        given = grants.give(owner)
    return _outcome(side, new, ROLES, "created", joined + given)


@contextmanager
def _allowed(admin: database.Connection) -> Iterator[None]:
    try:
        yield
    except pg.InsufficientPrivilege as error:
        raise Refused(
            f"{_me(admin)[0]} has no permission to create or drop the roles on {admin.side.title}",
            measured=str(error.diag.message_primary),
            allowed="CREATEROLE, and ADMIN OPTION on the owner of Laravel's tables and on pg_read_all_stats",
            next_step=f"set {admin.side.name}_admin_dsn in the inventory to the connection string of such a login",
        ) from error


def _there(admin: database.Connection, side: database.Side) -> list[str]:
    names = {grants.login_of(side, role): role for role in ROLES}
    found = admin.execute(sql_files.statement(grants.FILE, "roles that exist"), {"names": list(names)})
    known = {row[0] for row in found}
    return [role for name, role in names.items() if name in known]


def _opens(side: database.Side, role: str) -> bool:
    """Returns whether the role can log in with the stored password."""
    one = database.Side(side.name, credentials.for_role(side.dsn, role))
    try:
        database.connect(one, "roles").close()
    except database.Unreachable:
        raise
    except Refused:
        return False
    return True


def _not_ours(side: database.Side, closed: Sequence[str]) -> Refused:
    return Refused(
        f"the logins of {side.title} exist, but this machine does not have their passwords",
        measured=f"{', '.join(grants.login_of(side, role) for role in closed)} cannot log in from here",
        allowed="the passwords of the machine that created them; its sync may be using them",
        next_step="copy the passfile of the inventory's connection string from that machine; or, for new passwords, "
        "which that machine then needs too: ansible-playbook database-roles.yml -e database_roles=renewed",
    )


def _memberships(admin: database.Connection, side: database.Side) -> list[tuple[str, str]]:
    """Returns the required memberships: group and member.

    The owner is a member of the owner of Laravel's tables. The Task Service's admin is a member of the owner, so that
    logins with the admin's rights can still see the tables. All roles can read the sessions of others, for the lock,
    the load of Laravel's database and long transactions.
    """
    owner = grants.login_of(side, grants.OWNER)
    of_owner = [(group, owner) for group in _owners(admin)] if side.name == "laravel" else [(owner, _me(admin)[0])]
    return of_owner + [("pg_read_all_stats", grants.login_of(side, role)) for role in ROLES]


def _owners(admin: database.Connection) -> list[str]:
    asked = {"tables": sorted(grants.tables_read("laravel") - {"cognito_user_mapping"})}
    return [row[0] for row in admin.execute(sql_files.statement(grants.FILE, "owner of the tables"), asked)]


def _is_member(admin: database.Connection, group: str, member: str) -> bool:
    asked = {"role": member, "group": group}
    row = admin.execute(sql_files.statement(grants.FILE, "is a member"), asked).fetchone()
    return bool(row and row[0])


def _become(admin: database.Connection, group: str, member: str) -> bool:
    """Makes ``member`` a member of ``group``; returns False if it already is one."""
    if _is_member(admin, group, member):
        return False
    names = {"group": sql.Identifier(group), "role": sql.Identifier(member)}
    admin.execute(sql_files.statement(grants.FILE, "become a member", **names))
    return True


def _give_password(admin: database.Connection, side: database.Side, role: str) -> None:
    """Sets a new password. It is stored before the server uses it, so that it is never lost."""
    dsn = credentials.for_role(side.dsn, role)
    login = grants.login_of(side, role)
    if conninfo_to_dict(dsn).get("passfile") == credentials.IAM:
        known = admin.execute(sql_files.statement(grants.FILE, "iam")).fetchone()
        if not (known and known[0]):
            raise Refused(
                f"{side.title} ({side.address}) does not accept IAM tokens",
                measured="the role rds_iam, which RDS creates, does not exist",
                allowed="a database on RDS with IAM authentication enabled",
                next_step=f"set passfile= in {side.name}_dsn of the inventory to a file or a secret",
            )
        _become(admin, "rds_iam", login)
        return
    password = secrets.token_urlsafe(32)
    credentials.keep(dsn, password)
    # The server gets the SCRAM verifier, not the password, so the password cannot appear in a statement log.
    verifier = admin.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    names = {"role": sql.Identifier(login), "password": sql.Literal(verifier)}
    admin.execute(sql_files.statement(grants.FILE, "set password", **names))


def _absent(admin: database.Connection, side: database.Side, kept: Sequence[str], check: bool) -> Outcome:
    there = _there(admin, side)
    gone = [role for role in ROLES if role in there and role not in kept]
    left = [role for role in there if role in kept]
    if check or not gone:
        return _outcome(side, gone, left, "would be dropped")
    with _allowed(admin), admin.transaction():
        me = _me(admin)[0]
        heir = _owners(admin)[0] if side.name == "laravel" else me
        for role in gone:
            _become(admin, grants.login_of(side, role), me)
        if grants.OWNER in gone:
            joined = heir != me and _become(admin, heir, me)
            names = {"role": _login(side, grants.OWNER), "heir": sql.Identifier(heir)}
            owned = {"role": grants.login_of(side, grants.OWNER)}
            for (schema,) in admin.execute(sql_files.statement(grants.FILE, "schemas of"), owned).fetchall():
                of_schema = {"schema": sql.Identifier(schema), "heir": sql.Identifier(heir)}
                admin.execute(sql_files.statement(grants.FILE, "hand over a schema", **of_schema))
            admin.execute(sql_files.statement(grants.FILE, "hand over", **names))
            if joined:
                names = {"group": sql.Identifier(heir), "role": sql.Identifier(me)}
                admin.execute(sql_files.statement(grants.FILE, "leave", **names))
        for role in gone:
            admin.execute(sql_files.statement(grants.FILE, "forget", role=_login(side, role)))
            admin.execute(sql_files.statement(grants.FILE, "drop role", role=_login(side, role)))
    for role in gone:
        credentials.forget(credentials.for_role(side.dsn, role))
    return _outcome(side, gone, left, "dropped")


def _login(side: database.Side, role: str) -> sql.Identifier:
    return sql.Identifier(grants.login_of(side, role))


def _me(admin: database.Connection) -> tuple[str, str]:
    """Returns the admin's role and database."""
    row = admin.execute(sql_files.statement(grants.FILE, "whoami")).fetchone()
    assert row is not None
    return row[0], row[1]


def _outcome(side: database.Side, changed: Sequence[str], there: Iterable[str], verb: str, given: int = 0) -> Outcome:
    names = [grants.login_of(side, role) for role in changed]
    left = [grants.login_of(side, role) for role in there]
    text = f"{verb}: {', '.join(names)}" if names else f"existing: {', '.join(left) or 'none'}"
    if not names:
        text += f"; {given} missing grants {verb}" if given else "; nothing to do"
    return Outcome(
        bool(names or given),
        f"database roles on {side.title}: {text}",
        {"roles": names, "there": left, "grants": given},
    )
