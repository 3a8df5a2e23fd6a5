"""One login for each purpose: each does its work, and is refused everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from lab.servers import laravel_tables
from lab.servers.postgres_server import PostgresServer
from lab.sql_files import statement
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sides import SIGNED_OFF, Sides
from task_migration import sql_files
from task_migration.compare import consistency
from task_migration.control import journal, sync_switch
from task_migration.errors import Refused
from task_migration.external.aws import Aws
from task_migration.finish import cleanup, uninstall
from task_migration.outcome import Outcome
from task_migration.postgres import database, grants
from task_migration.postgres.database_roles import ROLES, database_roles
from task_migration.sync import fence

_numbers = count(1)
TABLES = "SELECT relname::text, relowner FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
OURS = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'task_migration'::regnamespace"
VERDICT = "INSERT INTO task_migration.verdict (passed, schema_fingerprint, summary) VALUES (true, '', '{}')"

FORBIDDEN = [
    ("laravel", "reader", "UPDATE tasks SET title = 'x'"),
    ("laravel", "reader", "DELETE FROM task_migration.change_log"),
    ("laravel", "reader", "UPDATE task_migration.journal_end SET id = 0"),
    ("laravel", "reader", VERDICT),
    ("laravel", "verifier", "INSERT INTO tags (name) VALUES ('x')"),
    ("laravel", "verifier", "DELETE FROM task_migration.change_log"),
    ("laravel", "writer", "UPDATE tasks SET title = 'x'"),
    ("laravel", "sync", "DROP TRIGGER task_migration_insert ON tasks"),
    ("laravel", "sync", "ALTER TABLE tasks DISABLE TRIGGER ALL"),
    ("laravel", "sync", "UPDATE users SET name = 'x'"),
    ("laravel", "sync", VERDICT),
    ("laravel", "sync", "CREATE TABLE mine (id int)"),
    ("task_service", "verifier", "DELETE FROM tasks"),
    ("task_service", "reader", "DELETE FROM task_migration.quarantine"),
    ("task_service", "writer", "DROP TABLE tasks"),
    ("task_service", "sync", "TRUNCATE tasks CASCADE"),
    ("task_service", "sync", "DROP TABLE task_migration.copy_chunk"),
]


@dataclass(frozen=True)
class ByRole:
    """Two sides on which each purpose has its own login, and whoever makes those."""

    sides: Sides
    laravel_admin_dsn: str
    task_service_admin_dsn: str
    superusers: dict[str, str]

    def roles(self, side: Literal["laravel", "task_service"], **more: Any) -> Outcome:
        return database_roles(
            side=side,
            laravel_dsn=self.sides.laravel_dsn,
            task_service_dsn=self.sides.task_service_dsn,
            laravel_admin_dsn=self.laravel_admin_dsn,
            task_service_admin_dsn=self.task_service_admin_dsn,
            **more,
        )

    def make(self) -> None:
        self.roles("laravel")
        self.roles("task_service")

    def side(self, name: str) -> database.Side:
        if name == "laravel":
            return database.laravel(self.sides.laravel_dsn)
        return database.task_service(self.sides.task_service_dsn)

    def login(self, side: str, role: str) -> str:
        return grants.login_of(self.side(side), role)

    def session(self, side: str, role: str) -> psycopg.Connection[Any]:
        dsn = self.side(side).dsn.replace("{role}", role)
        return psycopg.connect(dsn, autocommit=True)

    def asks(self, side: str, query: str, *parameters: Any) -> list[Any]:
        """As the superuser, who sees everything."""
        with psycopg.connect(self.superusers[side], autocommit=True) as session:
            return session.execute(query, parameters or None).fetchall()


@pytest.fixture
def by_role(
    laravel_server: PostgresServer,
    task_service_server: PostgresServer,
    laravel_database: Callable[..., Any],
    task_service_database: Callable[[], Any],
    tmp_path: Path,
) -> Iterator[ByRole]:
    source, target = laravel_database(), task_service_database()
    template = f"tm{next(_numbers)}_{{role}}"
    passfile = str(tmp_path / "pgpass")
    admin = "task_service_admin"
    with task_service_server.connect() as superuser:
        superuser.execute(statement("servers/server.sql", "let others see sessions", login=sql.Identifier(admin)))
    made = ByRole(
        Sides(
            make_conninfo(source.dsn, user=template, passfile=passfile),
            source.owner_dsn,
            make_conninfo(target.dsn, user=template, passfile=passfile),
            tmp_path / "reports",
        ),
        laravel_server.dsn(source.name, laravel_tables.ADMIN),
        target.dsn,
        {"laravel": source.superuser_dsn, "task_service": target.superuser_dsn},
    )
    yield made
    for side in ("laravel", "task_service"):
        with psycopg.connect(made.superusers[side], autocommit=True) as superuser:
            for role in ROLES:
                login = sql.Identifier(made.login(side, role))
                if superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [made.login(side, role)]).fetchone():
                    superuser.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(login))
                    superuser.execute(sql.SQL("DROP ROLE {}").format(login))


@pytest.fixture
def copied_by_role(by_role: ByRole) -> ByRole:
    by_role.make()
    by_role.sides.prepare()
    by_role.sides.copy()
    return by_role


def test_the_whole_of_a_copy_is_made_and_proven_each_by_its_own_login(copied_by_role: ByRole) -> None:
    sides = copied_by_role.sides
    assert sides.verify().details["passed"]
    with psycopg.connect(sides.laravel_owner_dsn) as application:
        application.execute("UPDATE tasks SET title = 'written meanwhile' WHERE id = 1")
    assert sides.drain().details["updated"] == 1
    assert sides.reconcile().details["differences"] == 0
    consistency.consistency(**sides.both, quarantine_signed_off=SIGNED_OFF, aws=Aws("ap-northeast-1"))
    journal.journal(laravel_dsn=sides.laravel_dsn, phase="2.2", item="phase", result="done")
    sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name="sync_forward", state="on", reason="a test")
    owners = copied_by_role.asks(
        "laravel",
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'task_migration'::regnamespace",
    )
    assert owners == [(copied_by_role.login("laravel", "owner"),)]


@pytest.mark.parametrize("side", ["laravel", "task_service"])
def test_each_login_may_do_what_is_declared_and_no_more(copied_by_role: ByRole, side: str) -> None:
    copied_by_role.sides.verify()
    found = copied_by_role.asks(
        side,
        "SELECT grantee::text, table_schema::text, table_name::text, array_agg(privilege_type::text ORDER BY 1)"
        " FROM information_schema.table_privileges WHERE grantee = ANY (%s) GROUP BY 1, 2, 3",
        [copied_by_role.login(side, role) for role in ROLES if role != "owner"],
    )
    held = {(grantee, schema, table): set(privileges) for grantee, schema, table, privileges in found}
    ours = {
        row[0]
        for row in copied_by_role.asks(
            side,
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'task_migration'::regnamespace",
        )
    }
    wanted: dict[tuple[str, str, str], set[str]] = {}
    for role, declared in grants.declared()[side].items():
        for words, privileges in declared.items():
            for schema, table in {
                "ours": [("task_migration", table) for table in ours],
                "mapped": [("public", table) for table in grants.tables_read(side)],
                "tasks_of": [("public", table) for table in grants.tables_of_tasks(side)],
            }.get(words, [("task_migration", words)] if words in ours else []):
                key = copied_by_role.login(side, role), schema, table
                wanted.setdefault(key, set()).update(privileges)
    assert held == wanted
    attributes = copied_by_role.asks(
        side,
        "SELECT bool_or(rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls) FROM pg_roles"
        " WHERE rolname = ANY (%s)",
        [copied_by_role.login(side, role) for role in ROLES],
    )
    assert attributes == [(False,)]


def test_a_login_is_refused_what_is_not_its_work(copied_by_role: ByRole) -> None:
    copied_by_role.sides.verify()
    for side, role, forbidden in FORBIDDEN:
        with copied_by_role.session(side, role) as session, pytest.raises(pg.InsufficientPrivilege):
            session.execute(sql_files.as_sql(forbidden))


def test_a_grant_that_somebody_took_away_is_seen_and_given_again(copied_by_role: ByRole) -> None:
    login = sql.Identifier(copied_by_role.login("laravel", "sync"))
    with psycopg.connect(copied_by_role.superusers["laravel"], autocommit=True) as superuser:
        superuser.execute(sql.SQL("REVOKE UPDATE ON tasks FROM {}").format(login))
        superuser.execute(sql.SQL("REVOKE USAGE ON SEQUENCE tags_id_seq FROM {}").format(login))
        superuser.execute(sql.SQL("REVOKE pg_read_all_stats FROM {} GRANTED BY dba").format(login))
    for check in (True, False):
        found = copied_by_role.roles("laravel", check=check)
        assert (found.changed, found.details["roles"], found.details["grants"]) == (True, [], 3)
    assert not copied_by_role.roles("laravel", check=True).changed
    assert not copied_by_role.roles("laravel").changed


def test_what_is_refused_names_the_role_and_what_to_type(copied_by_role: ByRole) -> None:
    where = copied_by_role.side("laravel")
    with (
        pytest.raises(
            Refused,
            match=r"the role tm\d+_reader has no permission for this.*next: ansible-playbook database-roles.yml",
        ),
        database.translated_errors(where),
        database.connect(where, "status") as session,
    ):
        session.execute("DELETE FROM tasks")


def test_made_again_nothing_changes_and_a_lost_password_is_renewed_only_when_asked(
    by_role: ByRole, tmp_path: Path
) -> None:
    assert by_role.roles("laravel", check=True).changed
    with pytest.raises(Refused, match=r"does not accept the password.*next: ansible-playbook database-roles.yml"):
        database.connect(by_role.side("laravel"), "status")
    assert by_role.roles("laravel").details["roles"] == [by_role.login("laravel", role) for role in ROLES]
    again = by_role.roles("laravel")
    assert not again.changed
    assert "nothing to do" in again.message
    kept = (tmp_path / "pgpass").read_text().splitlines()
    (tmp_path / "pgpass").write_text("\n".join(kept[1:]) + "\n")
    with pytest.raises(Refused, match=r"_owner cannot log in from here.*next: copy .*database_roles=renewed"):
        by_role.roles("laravel")
    assert by_role.roles("laravel", state="renewed", check=True).details["roles"] == [by_role.login("laravel", "owner")]
    assert by_role.roles("laravel", state="renewed").details["roles"] == [by_role.login("laravel", "owner")]
    assert not by_role.roles("laravel", check=True).changed


def test_at_the_end_they_go_but_for_the_one_that_reads_the_journal(copied_by_role: ByRole, tmp_path: Path) -> None:
    sides = copied_by_role.sides
    fence.fence(laravel_dsn=sides.laravel_dsn, state="present", check=False)
    journal.journal(laravel_dsn=sides.laravel_dsn, phase="2.5", item="no_way_back", result="done")
    asked = {
        "laravel_dsn": sides.laravel_dsn,
        "task_service_dsn": sides.task_service_dsn,
        "migration_environment": "local",
        "service_kind": "process",
        "service_directory": str(tmp_path / "services"),
        "fence_until": "2099-12-31",
    }
    cleanup.cleanup(**asked)
    with psycopg.connect(copied_by_role.superusers["laravel"], autocommit=True) as superuser:
        # PostgreSQL hands things over in the order in which it notes their owners: here the schema comes last.
        for owner in (laravel_tables.APPLICATION, copied_by_role.login("laravel", "owner")):
            superuser.execute(f"ALTER SCHEMA task_migration OWNER TO {owner}")
    for side in ("laravel", "task_service"):
        assert copied_by_role.roles(side, state="reader", check=True).changed
        copied_by_role.roles(side, state="reader")
        assert not copied_by_role.roles(side, state="reader").changed
    assert "nothing temporary is left" in cleanup.cleanup(**asked).message, "which the reader can say"
    journal.journal(laravel_dsn=sides.laravel_dsn, phase="2.5", item="phase", result="done")
    assert not sync_switch.sync_switch(laravel_dsn=sides.laravel_dsn, name="sync_forward", state="off").changed
    owned = copied_by_role.asks(
        "laravel",
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'task_migration'::regnamespace",
    )
    assert owned == [(laravel_tables.APPLICATION,)]
    with (
        psycopg.connect(sides.laravel_owner_dsn) as application,
        pytest.raises(psycopg.Error, match=r"fence|Task Service"),
    ):
        application.execute("UPDATE tasks SET title = 'x'")
    lines = (tmp_path / "pgpass").read_text().splitlines()
    assert {line.split(":")[3] for line in lines} == {
        copied_by_role.login(side, "reader") for side in ("laravel", "task_service")
    }
    for side in ("laravel", "task_service"):
        copied_by_role.roles(side, state="absent")
        names = [copied_by_role.login(side, role) for role in ROLES]
        assert copied_by_role.asks(side, "SELECT count(*) FROM pg_roles WHERE rolname = ANY (%s)", names) == [(0,)]
    assert not (tmp_path / "pgpass").exists()


def test_everything_taken_back_leaves_laravel_as_it_was(copied_by_role: ByRole, tmp_path: Path) -> None:
    sides = copied_by_role.sides
    before = copied_by_role.asks("laravel", TABLES)
    uninstall.uninstall(laravel_dsn=sides.laravel_dsn, report_directory=str(tmp_path))
    copied_by_role.roles("laravel", state="absent")
    after = copied_by_role.asks("laravel", TABLES)
    assert [row for row in before if not row[0].startswith("cognito_user_mapping")] == after
    granted = "SELECT count(*) FROM pg_class WHERE array_to_string(relacl, ',') LIKE 'tm%%'"
    assert copied_by_role.asks("laravel", granted) == [(0,)]


def test_without_somebody_who_may_make_roles_it_is_refused(by_role: ByRole) -> None:
    asked = {"laravel_dsn": by_role.sides.laravel_dsn, "task_service_dsn": by_role.sides.task_service_dsn}
    with pytest.raises(Refused, match=r"laravel_admin_dsn is empty.*CREATEROLE"):
        database_roles(side="laravel", **asked)
    with pytest.raises(
        Refused, match=r"task_migrator has no permission to create or drop the roles.*allowed: CREATEROLE"
    ):
        database_roles(
            side="laravel", **asked, laravel_admin_dsn=by_role.laravel_admin_dsn.replace("dba", laravel_tables.MIGRATOR)
        )


def test_where_one_login_does_everything_there_is_nothing_to_make(make_sides: Callable[..., Sides]) -> None:
    sides = make_sides()
    made = database_roles(side="laravel", laravel_dsn=sides.laravel_dsn, task_service_dsn=sides.task_service_dsn)
    assert not made.changed
    assert "one login does everything" in made.message


def test_the_task_services_database_may_not_be_made_yet(by_role: ByRole) -> None:
    asked = {"laravel_dsn": by_role.sides.laravel_dsn, "task_service_dsn": by_role.sides.task_service_dsn}
    nowhere = make_conninfo(by_role.task_service_admin_dsn, port="1")
    made = database_roles(side="task_service", **asked, task_service_admin_dsn=nowhere)
    assert not made.changed
    assert "phase 2.1 creates the roles with the database" in made.message
