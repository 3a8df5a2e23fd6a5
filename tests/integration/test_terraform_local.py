"""Terraform for real, in the lab's environment: made, made again, destroyed, killed half way, tainted, locked."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
from lab.down import down
from lab.locations import Locations
from lab.servers.laravel_tables import LaravelContents
from lab.servers.postgres_server import free_port
from task_migration.errors import Failed, Refused
from task_migration.external import terraform
from task_migration.prepare.provision import provision

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = PROJECT / "terraform" / "environments" / "local"
ADDRESS = "module.task_service_rds.terraform_data.this"

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")


class Target:
    """A lab without Laravel's half: just what Terraform makes."""

    def __init__(self, directory: Path) -> None:
        self.world = Locations(directory)
        self.port = free_port()
        self.dsn = self.world.endpoints_at(1, self.port, LaravelContents(150))["task_service_dsn"]
        self.state = self.world.terraform_directory / "terraform.tfstate"

    def provision(self, **options):
        values = {"python": sys.executable, "directory": str(self.world.task_service_directory), "port": self.port}
        return provision(
            **{
                "terraform_directory": str(ENVIRONMENT),
                "terraform_variables": values,
                "terraform_backend": {"path": str(self.state)},
                "allow_destroy": True,
                **options,
            }
        )

    def answers(self):
        try:
            with psycopg.connect(self.dsn) as session:
                return session.execute("SELECT current_user").fetchone() == ("task_service_admin",)
        except psycopg.OperationalError:
            return False

    def terraform(self, *arguments):
        environment = {**os.environ, "TF_DATA_DIR": str(self.world.terraform_directory / "data")}
        return subprocess.run(
            ["terraform", f"-chdir={ENVIRONMENT}", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )


@pytest.fixture
def target(tmp_path):
    target = Target(tmp_path / ".lab")
    yield target
    down(lab_directory=str(target.world.directory))


def files_in_the_project():
    return sorted(path for path in (PROJECT / "terraform").rglob("*"))


def test_present_makes_it_and_again_changes_nothing(target):
    before = files_in_the_project()
    first = target.provision()
    assert first.changed
    assert target.answers()
    assert first.details["outputs"]["address"] == "127.0.0.1"
    assert first.details["outputs"]["port"] == target.port
    second = target.provision()
    assert not second.changed
    assert second.details["outputs"] == first.details["outputs"]
    assert files_in_the_project() == before


def test_absent_destroys_it_and_again_changes_nothing(target):
    target.provision()
    server = target.world.task_service_server(0)
    assert target.provision(state="absent").changed
    assert not target.answers()
    assert not server.home.exists()
    assert not target.provision(state="absent").changed


def test_there_and_back_and_there_again_is_another_server(target):
    ids = []
    for _ in range(2):
        ids.append(target.provision().details["outputs"]["resource_id"])
        assert target.answers()
        target.provision(state="absent")
    assert ids[0] != ids[1]


def test_check_mode_predicts_and_touches_nothing(target):
    before = files_in_the_project()
    predicted = target.provision(check=True)
    assert predicted.changed
    assert predicted.details == {"outputs": {}, "actions": {ADDRESS: "create"}}
    assert not target.world.directory.exists()
    assert not target.provision(check=True, state="absent").changed
    target.provision()
    state = target.state.read_bytes()
    assert not target.provision(check=True).changed
    assert target.provision(check=True, state="absent").changed
    assert target.state.read_bytes() == state
    assert target.answers()
    assert files_in_the_project() == before


def test_it_is_not_destroyed_where_nothing_may_be(target):
    target.provision()
    with pytest.raises(Refused, match="allow_destroy=false"):
        target.provision(state="absent", allow_destroy=False)
    target.port = free_port()
    with pytest.raises(Refused, match=rf"would destroy resources.*{re.escape(ADDRESS)} \(replace\)"):
        target.provision(allow_destroy=False)
    target.terraform("taint", f"-state={target.state}", ADDRESS)
    with pytest.raises(Refused, match="terraform untaint"):
        target.provision(allow_destroy=False)


def test_a_tainted_database_is_made_anew(target):
    target.provision()
    with psycopg.connect(target.dsn) as session:
        session.execute("CREATE TABLE left_over (n int)")
    target.terraform("taint", f"-state={target.state}", ADDRESS)
    assert target.provision(check=True).details["actions"] == {ADDRESS: "replace"}
    assert target.provision().changed
    with psycopg.connect(target.dsn) as session:
        assert session.execute("SELECT to_regclass('left_over')").fetchone() == (None,)
    assert not target.provision().changed


def test_a_failed_creation_is_told_and_the_next_run_mends_it(target):
    stranger = target.world.task_service_directory / "thesis.txt"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("years of work")
    with pytest.raises(Failed, match="was not created by the lab"):
        target.provision()
    assert stranger.read_text() == "years of work"
    stranger.unlink()
    assert target.provision().changed
    assert target.answers()


@pytest.mark.parametrize("pause", [0.1, 0.5, 0.9])
def test_killed_in_the_middle_the_same_command_goes_on(target, pause):
    """Terraform is killed as by the kernel: its state's lock is left over, its child works on alone."""
    began = []

    def kill(sign):
        if not began and "Creating" in sign.note:
            began.append(True)
            time.sleep(pause)
            for process in processes_of(target.state):
                os.kill(process, signal.SIGKILL)

    with pytest.raises(Failed, match="failed"):
        target.provision(listener=kill)
    assert began
    assert target.provision().changed
    assert target.answers()
    assert not target.provision().changed
    assert target.provision(state="absent").changed


def processes_of(state):
    """Terraform's processes that hold the lock of this state."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "terraform":
            try:
                data = process.environ().get("TF_DATA_DIR", "")
            except psutil.Error:
                continue
            if data == str(state.parent / "data"):
                found.append(process.pid)
    return found


def test_a_held_lock_says_by_whom_and_what_to_type(target, monkeypatch):
    monkeypatch.setattr(terraform, "LOCK_TIMEOUT", "1s")
    target.provision()
    told = {"ID": "0d2a-11", "Who": "anna@runner", "Operation": "OperationTypeApply", "Created": "2026-11-24T01:00:00Z"}
    info = target.state.with_name(".terraform.tfstate.lock.info")
    info.write_text(json.dumps(told))
    with target.state.open("r+") as state:
        fcntl.lockf(state, fcntl.LOCK_EX)
        with pytest.raises(Refused, match=r"locked; measured: by anna@runner.*force-unlock 0d2a-11"):
            target.provision(state="absent")
        assert not target.provision(check=True).changed
    assert target.answers()
    # The holder is dead now: of a local state nothing but a note is left of its lock, and that is no hindrance.
    assert target.provision(state="absent").changed


def test_a_lost_state_does_not_hinder_a_new_beginning(target):
    target.provision()
    shutil.rmtree(target.state.parent)
    assert target.provision().changed
    assert target.answers()


def test_no_password_is_in_the_state(target):
    target.provision()
    passfile = target.world.task_service_server(0).passfile("task_service_admin")
    password = passfile.read_text().strip().split(":")[-1]
    for path in target.world.terraform_directory.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes()


def test_a_wrong_value_changes_nothing(target):
    target.port = 80
    with pytest.raises(Refused, match="port: a whole number from 1150 to 65535"):
        target.provision()
    assert not target.state.exists()


def test_an_environment_tells_all_that_its_module_tells():
    told = re.compile(r'^output "(\w+)"', re.MULTILINE)
    module = (PROJECT / "terraform" / "modules" / "task_service_local" / "outputs.tf").read_text()
    assert told.findall((ENVIRONMENT / "outputs.tf").read_text()) == told.findall(module)


def test_every_variable_is_typed_and_described_and_every_output_described():
    for path in (PROJECT / "terraform").rglob("*.tf"):
        for kind, name, body in re.findall(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', path.read_text(), re.M | re.S):
            needed = ("description", "type") if kind == "variable" else ("description", "value")
            assert all(re.search(rf"^  {word} +=", body, re.M) for word in needed), f"{path}: {name}"


def test_the_code_is_formatted():
    command = ["terraform", "fmt", "-check", "-recursive", str(PROJECT / "terraform")]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == ""


def test_the_modules_own_tests_pass(tmp_path):
    environment = {**os.environ, "TF_DATA_DIR": str(tmp_path / "data")}
    module = PROJECT / "terraform" / "modules" / "task_service_local"
    for verb in ("init", "test"):
        command = ["terraform", f"-chdir={module}", verb, "-no-color"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
