"""Bad input: one clear line, nothing changed, an exit code that is not 0."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import time

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from .conftest import BIN
from .terminal import typed


@pytest.fixture
def refused(lab):
    """Types a command that must be refused in one line; that line. Proves that Laravel's database is as it was."""

    def go(*words, **more):
        before = lab.catalog()
        ran = lab.type(*words, **more)
        assert ran.code != 0, ran.said
        assert len(ran.errors) == 1, ran.said
        assert "Traceback" not in ran.said
        assert lab.catalog() == before
        return ran.errors[0]

    return go


def test_a_misspelt_parameter_is_refused_with_the_one_that_was_meant(refused):
    assert "did you mean copy_workers?" in refused("phase-2.1-prepare.yml", "-e", "copy_wokers=4")


def test_a_value_that_is_no_number_is_refused(refused):
    line = refused("phase-2.1-prepare.yml", "-e", "lab_tasks=abc")
    assert "-e lab_tasks is not valid" in line
    assert "a whole number from 1" in line


def test_a_choice_that_there_is_not_is_refused(refused):
    assert "allowed: widen or refuse" in refused("phase-2.1-prepare.yml", "-e", "title_policy=cut")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-e", "weight=7"), "-e weight is not valid"),
        (("-e", "weight=5%"), "measured: '5%'; allowed: 0 or 5 or 25 or 50 or 100"),
        (("-e", "weight=abc"), "measured: 'abc'"),
        ((), "phase-2.4-canary needs -e weight=..."),
    ],
)
def test_a_mistyped_weight_touches_nothing(lab, refused, words, said):
    before = lab.stage()
    assert said in refused("phase-2.4-canary.yml", *words)
    assert lab.stage() == before


def test_a_database_of_another_environment_is_refused_by_all_that_writes(prepared, refused):
    read = "SELECT obj_description('task_migration'::regnamespace)"
    with psycopg.connect(prepared.endpoints()["laravel_dsn"], autocommit=True) as session:
        (stamp,) = session.execute(read).fetchone()
        assert '"environment": "local"' in stamp
        session.execute(as_comment(stamp.replace('"local"', '"production"')))
        try:
            for words in (("reconcile.yml",), ("rollback-2.4.yml",), ("phase-2.4-canary.yml", "-e", "weight=0")):
                assert "belongs to another environment" in refused(*words)
        finally:
            session.execute(as_comment(stamp))


def as_comment(stamp):
    return sql.SQL("COMMENT ON SCHEMA task_migration IS {}").format(sql.Literal(stamp))


def test_without_a_terminal_the_environment_has_to_be_named_beforehand(prepared, refused):
    asking = ("reconcile.yml", "-e", "environment_confirmation=ask")
    assert refused(*asking).endswith("-e environment_confirmed=local, or type that name when asked")
    assert "measured: the answer 'production'" in refused(*asking, "-e", "environment_confirmed=production")
    prepared.must(*asking, "-e", "environment_confirmed=local")


@pytest.mark.parametrize("answer", ["local", "production"])
def test_at_a_terminal_the_environments_name_is_typed(prepared, answer):
    asking = ("reconcile.yml", "-e", "environment_confirmation=ask")
    shown, code = typed(prepared, asking, "Type the environment's name", answer)
    assert (code == 0) == (answer == "local"), shown
    assert ("Refused, nothing was changed" in " ".join(shown.split())) == (answer == "production")


def test_an_inventory_that_is_not_there_ends_the_run(refused):
    line = refused("phase-2.1-prepare.yml", "-i", "../inventories/prodution")
    assert "prodution" in line


def test_the_labs_playbooks_refuse_production(refused):
    assert "lab-down runs only in the lab" in refused("lab-down.yml", "-i", "../inventories/production")


def test_an_inventory_of_something_else_is_refused(refused, tmp_path):
    (tmp_path / "hosts.yml").write_text("runner: {hosts: {localhost: {ansible_connection: local}}}\n")
    assert "is missing" in refused("phase-2.1-prepare.yml", "-i", str(tmp_path / "hosts.yml"))


def test_a_limit_that_leaves_no_host_is_no_success(lab, tmp_path):
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("other: {hosts: {elsewhere: {}}}\nrunner: {hosts: {localhost: {}}}\n")
    ran = lab.type("phase-2.1-prepare.yml", "-i", str(hosts), "--limit", "elsewhere")
    assert ran.code == 3
    assert "Failed: nothing ran" in ran.said
    assert lab.type("phase-2.1-prepare.yml", "--limit", "nowhere").code != 0


@pytest.mark.parametrize("words", [("--tags", "copy"), ("--skip-tags", "gate"), ("--start-at-task", "Copy the tasks")])
def test_options_that_step_over_the_gate_are_refused(lab, words):
    before = lab.catalog()
    ran = lab.type("phase-2.1-prepare.yml", *words)
    assert ran.code == 3
    assert f"Refused, nothing was changed: {words[0]} would skip" in ran.said
    assert lab.catalog() == before


def test_a_database_that_does_not_answer_is_said_with_its_address(lab, refused):
    dsn = make_conninfo(lab.endpoints()["laravel_dsn"], port="1")
    line = refused("phase-2.1-prepare.yml", "-e", f'{{"laravel_dsn": "{dsn}"}}')
    assert "Laravel's database (127.0.0.1:1/laravel) cannot be reached" in line


def test_a_wrong_password_is_said_as_such(lab, refused, tmp_path):
    passfile = tmp_path / "wrong"
    passfile.write_text("*:*:*:*:hunter2\n")
    passfile.chmod(0o600)
    dsn = make_conninfo(lab.endpoints()["runbook_laravel_dsn"], passfile=str(passfile))
    line = refused("phase-2.1-prepare.yml", "-e", f'{{"laravel_dsn": "{dsn}"}}')
    assert "does not accept the password of task_migration_reader" in line
    assert "hunter2" not in line


def test_tls_that_the_server_does_not_speak_is_said_as_such(lab, refused):
    dsn = make_conninfo(lab.endpoints()["laravel_dsn"], sslmode="require")
    line = refused("phase-2.1-prepare.yml", "-e", f'{{"laravel_dsn": "{dsn}"}}')
    assert "no TLS connection to " in line


def test_a_time_zone_that_there_is_not_is_refused(refused):
    assert "Asia/Tokio" in refused("phase-2.1-prepare.yml", "-e", "laravel_timezone=Asia/Tokio")


def test_terraform_that_is_not_there_is_said_with_where_to_get_it(fresh):
    before = fresh.catalog()
    ran = fresh.type("phase-2.1-prepare.yml", PATH=str(BIN))
    assert ran.code != 0
    assert "terraform" in ran.errors[-1].lower()
    triggers = ("trigger only_grows on", "trigger chained on")
    journal = ("schema task_migration", "relation task_migration.", "function task_migration.", *triggers)
    assert {thing for thing in fresh.catalog() if not thing.startswith(journal)} == set(before)


def test_a_second_operator_is_told_who_works_and_since_when(lab, refused):
    """And kill -9 of the first one frees the lock within a second."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    holder = (
        "import os, sys, time; from task_migration.control.operator_lock import operator_lock; os.getppid = os.getpid; "
        "operator_lock(laravel_dsn=sys.argv[1], command='phase-2.1-prepare'); print('held', flush=True); time.sleep(60)"
    )
    command = [BIN / "python", "-c", holder, lab.endpoints()["laravel_dsn"]]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as first:
        try:
            first.stdout.readline()
            line = refused("rollback-2.1.yml")
            assert f"phase-2.1-prepare {getpass.getuser()}@" in line
            assert "since 20" in line
        finally:
            first.send_signal(signal.SIGKILL)
    time.sleep(1)
    assert lab.type("rollback-2.1.yml", "--check").code == 0


def test_kill_9_of_a_playbook_does_not_stop_the_next_one(fresh):
    command = [BIN / "ansible-playbook", "phase-2.1-prepare.yml", *fresh.place]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    with subprocess.Popen(
        command, cwd=fresh.project / "playbooks", env=environment, stdout=subprocess.PIPE, text=True
    ) as first:
        for line in first.stdout:
            if "changed: Create the Task Service's tables" in line:
                break
        first.kill()
    assert fresh.must("phase-2.1-prepare.yml").changed
    assert fresh.must("phase-2.1-prepare.yml").changed == 0


def test_a_failure_in_the_middle_says_the_first_cause_and_takes_the_change_log_off_again(fresh):
    """The sequences can't be set apart, after the change log was put on: nothing was copied, so it goes off again."""
    with psycopg.connect(fresh.endpoints()["laravel_app_dsn"]) as session:
        session.execute("ALTER SEQUENCE tasks_id_seq RESTART WITH 1500000000")
    try:
        ran = fresh.type("phase-2.1-prepare.yml")
        assert ran.code != 0
        assert ran.errors[-1].startswith("failed: Fail with the first cause: Phase 2.1 stopped: ")
        assert "rollback-2.1.yml undoes everything" in ran.errors[-1]
        assert not [thing for thing in fresh.catalog() if thing.startswith("trigger task_migration_insert")]
    finally:
        with psycopg.connect(fresh.endpoints()["laravel_app_dsn"]) as session:
            session.execute("ALTER SEQUENCE tasks_id_seq RESTART WITH 151")
