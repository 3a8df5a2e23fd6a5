"""The guard before any write: what a database says of itself, the stamp, AWS's account, and the environment's name."""

from __future__ import annotations

import os
import subprocess

import psycopg
import pytest
from by_options import call
from lab.gateway.aws_emulator import AwsEmulator
from lab.servers import laravel_tables as lab_laravel
from lab.servers.postgres_server import free_port, wheel_binaries
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from task_migration.control import journal
from task_migration.control.environment_stamp import environment_stamp
from task_migration.control.target_gate import target_gate
from task_migration.errors import MigrationError, Refused

REGION, ACCOUNT = "ap-northeast-1", "123456789012"


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


@pytest.fixture
def dsns(laravel_database, task_service_database):
    """Laravel's database with a journal, and the Task Service's with our schema."""
    laravel, task_service = laravel_database(), task_service_database()
    journal.journal(laravel_dsn=laravel.dsn, phase="2.1", item="phase", result="started")
    run(task_service.dsn, "CREATE SCHEMA task_migration")
    return {"laravel_dsn": laravel.dsn, "task_service_dsn": task_service.dsn}


def run(dsn, statement):
    with psycopg.connect(dsn, autocommit=True) as session:
        cursor = session.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def compare(dsns, environment="production", **more):
    return call(target_gate, **dsns, migration_environment=environment, **{"aws_region": REGION, **more})


def server_of(dsn):
    return run(dsn, "SELECT system_identifier::text FROM pg_control_system()")


def comments(dsns):
    return [run(dsn, "SELECT obj_description('task_migration'::regnamespace)") for dsn in dsns.values()]


def test_the_stamp_is_written_once_and_check_mode_predicts_it(dsns):
    predicted = environment_stamp(**dsns, migration_environment="production", check=True)
    assert comments(dsns) == [None, None]
    done = environment_stamp(**dsns, migration_environment="production")
    assert (predicted.changed, predicted.details) == (done.changed, done.details) == (True, done.details)
    before = comments(dsns)
    assert not environment_stamp(**dsns, migration_environment="production").changed
    assert comments(dsns) == before
    assert compare(dsns).details["compared"].keys() == {"laravel", "task_service"}


def test_a_database_of_another_environment_is_refused_both_ways(dsns):
    environment_stamp(**dsns, migration_environment="production")
    with pytest.raises(
        Refused, match=r"Laravel's database .* another environment; measured: it is stamped production, .*"
    ):
        compare(dsns, "staging")
    run(dsns["laravel_dsn"], "COMMENT ON SCHEMA task_migration IS 'somebody else said this'")
    with pytest.raises(Refused, match=r"the Task Service's database .* next: .*-i \.\./inventories/production"):
        compare(dsns, "local")


def test_a_server_that_the_inventory_does_not_name_is_refused(dsns):
    compare(dsns, laravel_system_identifier=server_of(dsns["laravel_dsn"]))
    with pytest.raises(Refused, match=r"another server .*allowed: 7 \(laravel_system_identifier in the inventory\)"):
        compare(dsns, laravel_system_identifier="7")
    with pytest.raises(Refused, match="task_service_system_identifier"):
        compare(dsns, task_service_system_identifier="7")


def test_a_dump_that_was_loaded_elsewhere_is_not_taken_for_where_it_came_from(dsns, task_service_server):
    environment_stamp(**dsns, migration_environment="production")
    parts = conninfo_to_dict(dsns["laravel_dsn"])
    program = wheel_binaries() / "bin"
    environment = {"PATH": os.environ["PATH"]}
    taken = subprocess.run(
        [program / "pg_dump", "--no-owner", "--no-privileges", "--schema=task_migration", dsns["laravel_dsn"]],
        check=True,
        capture_output=True,
        env=environment,
    ).stdout
    task_service_server.add_database("copy_of_production", "task_service_admin")
    copy = task_service_server.dsn("copy_of_production", "task_service_admin")
    try:
        subprocess.run(
            [program / "psql", "-qX", "-v", "ON_ERROR_STOP=1", copy], input=taken, check=True, env=environment
        )
        with pytest.raises(Refused, match=r"on another server .*stamped production"):
            compare({**dsns, "laravel_dsn": copy})
        with pytest.raises(Refused, match="belongs to another environment"):
            compare({**dsns, "laravel_dsn": copy}, "local")
        # A human's word that this is the server now, as after a major upgrade.
        compare({**dsns, "laravel_dsn": copy}, laravel_system_identifier=server_of(copy))
        assert environment_stamp(**{**dsns, "laravel_dsn": copy}, migration_environment="production").changed
        compare({**dsns, "laravel_dsn": copy})
    finally:
        task_service_server.drop_database("copy_of_production")
    assert parts["dbname"] != "copy_of_production"


def test_a_copy_on_the_same_server_is_known_by_its_oid_and_a_rename_changes_nothing(dsns, laravel_server):
    environment_stamp(**dsns, migration_environment="production")
    name = conninfo_to_dict(dsns["laravel_dsn"])["dbname"]
    laravel_server.add_database("copied_beside", lab_laravel.APPLICATION, template=name)
    try:
        with pytest.raises(Refused, match="is a copy of the expected database, on the same server"):
            compare({**dsns, "laravel_dsn": make_conninfo(dsns["laravel_dsn"], dbname="copied_beside")})
        with laravel_server.connect() as session:
            session.autocommit = True
            session.execute(sql.SQL("ALTER DATABASE {} RENAME TO renamed_meanwhile").format(sql.Identifier(name)))
            try:
                compare({**dsns, "laravel_dsn": make_conninfo(dsns["laravel_dsn"], dbname="renamed_meanwhile")})
            finally:
                session.execute(sql.SQL("ALTER DATABASE renamed_meanwhile RENAME TO {}").format(sql.Identifier(name)))
    finally:
        laravel_server.drop_database("copied_beside")


def test_where_the_login_may_not_ask_an_identifier_of_the_inventory_is_refused_with_the_grant(dsns, laravel_server):
    name = conninfo_to_dict(dsns["laravel_dsn"])["dbname"]
    known = server_of(dsns["laravel_dsn"])
    with laravel_server.connect(name) as session:
        session.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    assert "system identifier unknown" in compare(dsns).details["compared"]["laravel"]
    with pytest.raises(Refused, match=r"GRANT EXECUTE ON FUNCTION pg_control_system\(\)"):
        compare(dsns, laravel_system_identifier=known)


def test_a_task_service_that_was_not_made_yet_is_said_and_laravels_database_has_to_answer(dsns):
    away = make_conninfo(dsns["task_service_dsn"], port=free_port())
    for dsn in (away, ""):
        found = compare({**dsns, "task_service_dsn": dsn})
        assert "not compared: the Task Service's database" in found.message
    gone = {**dsns, "laravel_dsn": away}
    with pytest.raises(MigrationError, match=r"Laravel's database .* cannot be reached"):
        compare(gone)
    assert "not compared: Laravel's database" in compare(gone, is_rollback=True).message


def test_another_account_or_region_is_refused_with_what_to_type(dsns, emulator, monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    asked = {"aws_endpoint_url": emulator.url}
    own = compare(dsns, aws_account_id=ACCOUNT, **asked)
    assert own.details["compared"]["aws"] == f"account {ACCOUNT}, {REGION}"
    with pytest.raises(
        Refused, match=rf"measured: account {ACCOUNT}, arn:.*allowed: account 210987654321.*AWS_PROFILE"
    ):
        compare(dsns, aws_account_id="210987654321", is_rollback=True, **asked)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(Refused, match=rf"another AWS region; measured: us-east-1; allowed: {REGION}"):
        compare(dsns, aws_account_id=ACCOUNT, **asked)
    compare(dsns, aws_account_id=ACCOUNT, is_rollback=True, **asked)


def test_an_aws_that_does_not_answer_stands_in_nobodys_way_home(dsns):
    nowhere = {"aws_account_id": ACCOUNT, "aws_endpoint_url": f"http://127.0.0.1:{free_port()}"}
    assert "not compared: AWS cannot be reached" in compare(dsns, is_rollback=True, **nowhere).message


@pytest.mark.parametrize("answer", ["", "staging", "yes", "Production"])
def test_production_is_named_or_refused_with_the_command(dsns, answer):
    asked = {"environment_confirmation": "ask"}
    found = compare(dsns, answer="ask", **asked).details
    assert (found["asks"], "Type the environment's name" in found["question"]) == (True, True)
    with pytest.raises(Refused, match=r"next: the same command with -e environment_confirmed=production"):
        compare(dsns, answer=answer, **asked)
    assert not compare(dsns, answer="production", **asked).details["asks"]


def test_check_mode_and_ways_home_ask_nobody_but_a_wrong_name_is_refused_everywhere(dsns):
    for more in ({"check": True}, {"is_rollback": True}, {"environment_confirmation": "none"}):
        asked = {"environment_confirmation": "ask", **more}
        assert not compare(dsns, answer="ask", **asked).details["asks"]
        with pytest.raises(Refused, match="the environment production was not confirmed"):
            compare(dsns, answer="staging", **asked)
