"""The lab comes up and goes down: does it, again changes nothing, check mode predicts and touches nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from lab import up as lab_up
from lab.down import down
from lab.fault import KINDS, fault
from lab.postgres_server import alive, main
from lab.up import up
from lab.world import World
from task_migration.errors import Refused


@pytest.fixture
def lab(tmp_path):
    directory = tmp_path / ".lab"
    yield str(directory)
    down(lab_directory=str(directory))


def value(dsn, query):
    with psycopg.connect(dsn) as session:
        return session.execute(query).fetchone()[0]


def everything(directory):
    """Each file below a directory, with its time."""
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if "data" not in path.parts}


def test_up_makes_it_and_again_changes_nothing(lab):
    first = up(lab_directory=lab)
    assert first.changed
    assert value(first.details["laravel_dsn"], "SELECT count(*) FROM tasks") == 150
    assert value(first.details["laravel_app_dsn"], "SELECT current_user") == "laravel"
    second = up(lab_directory=lab)
    assert not second.changed
    assert second.details == first.details


def test_the_endpoints_are_written_down_without_a_password(lab):
    details = up(lab_directory=lab).details
    text = World(Path(lab)).endpoints_file.read_text()
    assert json.loads(text) == details
    assert "password" not in text
    ports = {name: value for name, value in details.items() if name.endswith("_port")}
    assert len(set(ports.values())) == len(ports) == 4


def test_check_mode_predicts_and_touches_nothing(lab):
    directory = Path(lab)
    assert up(lab_directory=lab, check=True).changed
    assert not directory.exists()
    assert not down(lab_directory=lab, check=True).changed
    up(lab_directory=lab)
    before = everything(directory)
    assert not up(lab_directory=lab, check=True).changed
    assert down(lab_directory=lab, check=True).changed
    assert everything(directory) == before
    World(directory).laravel_server(0).stop()
    assert up(lab_directory=lab, check=True).changed
    assert World(directory).laravel_server(0).pid() is None


def test_down_leaves_no_process_and_no_file_and_again_changes_nothing(lab):
    world = World(Path(lab))
    details = up(lab_directory=lab).details
    make_target(world, details)
    world.terraform_directory.mkdir()
    (world.terraform_directory / "terraform.tfstate").write_text("{}")
    servers = [world.laravel_server(0), world.task_service_server(0)]
    processes = [psutil.Process(one.pid()) for one in (*servers, *world.apps(details))]
    assert down(lab_directory=lab).changed
    assert not any(alive(process) for process in processes)
    assert not any(server.home.exists() for server in servers)
    assert not world.directory.exists()
    assert not down(lab_directory=lab).changed


def make_target(world, details):
    """What Terraform's local-exec runs."""
    arguments = ["--directory", str(world.task_service_directory), "--port", str(details["task_service_port"])]
    assert main(["create", *arguments, "--database", "task_service", "--owner", "task_service_admin"]) == 0


def test_the_task_services_address_is_known_before_terraform_makes_it(lab):
    world = World(Path(lab))
    details = up(lab_directory=lab).details
    make_target(world, details)
    assert value(details["task_service_dsn"], "SELECT current_user") == "task_service_admin"
    assert not up(lab_directory=lab).changed


def test_after_the_machine_restarted_up_brings_both_servers_back_with_their_rows(lab):
    world = World(Path(lab))
    details = up(lab_directory=lab).details
    make_target(world, details)
    with psycopg.connect(details["laravel_app_dsn"]) as session:
        session.execute("INSERT INTO tasks (user_id, title) VALUES (1, 'written before the restart')")
    world.laravel_server(0).stop("immediate")
    world.task_service_server(0).stop("immediate")
    again = up(lab_directory=lab)
    assert again.changed
    assert again.details == details
    assert value(details["laravel_dsn"], "SELECT count(*) FROM tasks") == 151
    assert value(details["task_service_dsn"], "SELECT 1") == 1


def test_a_lab_killed_while_it_is_filled_is_filled_anew(lab, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab_up.laravel, "fill", killed)
    with pytest.raises(KeyboardInterrupt):
        up(lab_directory=lab)
    monkeypatch.undo()
    assert up(lab_directory=lab, check=True).changed
    assert value(up(lab_directory=lab).details["laravel_dsn"], "SELECT count(*) FROM tasks") == 150


@pytest.mark.parametrize("running", [True, False])
def test_another_size_is_refused_and_changes_nothing(lab, running):
    details = up(lab_directory=lab).details
    if not running:
        World(Path(lab)).laravel_server(0).stop()
    before = everything(Path(lab))
    with pytest.raises(Refused, match=r"filled with 150 tasks, asked for 300.*lab-down\.yml"):
        up(lab_directory=lab, lab_tasks=300)
    assert everything(Path(lab)) == before
    up(lab_directory=lab)
    assert value(details["laravel_dsn"], "SELECT count(*) FROM tasks") == 150


def test_too_small_a_lab_is_refused(lab):
    with pytest.raises(Refused, match=r"lab_tasks=149.*150 or more"):
        up(lab_directory=lab, lab_tasks=149)
    assert not Path(lab).exists()


def test_down_refuses_what_the_lab_did_not_make_and_leaves_everything(lab):
    world = World(Path(lab))
    details = up(lab_directory=lab).details
    world.task_service_directory.mkdir()
    (world.task_service_directory / "thesis.txt").write_text("years of work")
    for check in (True, False):
        with pytest.raises(Refused, match="was not made by the lab"):
            down(lab_directory=lab, check=check)
    assert value(details["laravel_dsn"], "SELECT 1") == 1
    (world.task_service_directory / "thesis.txt").unlink()
    world.task_service_directory.rmdir()


def test_down_leaves_strangers_files_in_the_labs_directory(lab):
    up(lab_directory=lab)
    notes = Path(lab) / "notes.txt"
    notes.write_text("mine")
    assert down(lab_directory=lab).changed
    assert os.listdir(lab) == ["notes.txt"]


def test_down_finds_the_servers_though_the_labs_directory_was_deleted_by_hand(lab):
    world = World(Path(lab))
    up(lab_directory=lab)
    server = world.laravel_server(0)
    if server.home == server.directory:
        pytest.skip("here the data is in the directory itself, and the server ends with it")
    processes = [psutil.Process(one.pid()) for one in (server, *world.apps(world.endpoints()))]
    shutil.rmtree(world.directory)
    assert down(lab_directory=lab).changed
    assert not any(alive(process) for process in processes)
    assert not server.home.exists()


def test_two_labs_live_side_by_side(lab, tmp_path):
    other = str(tmp_path / "other lab")
    try:
        first, second = up(lab_directory=lab).details, up(lab_directory=other).details
        assert value(first["laravel_dsn"], "SELECT 1") == value(second["laravel_dsn"], "SELECT 1")
        down(lab_directory=other)
        assert value(first["laravel_dsn"], "SELECT 1") == 1
    finally:
        down(lab_directory=other)


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A lab that is up, for tests that leave it as they found it."""
    directory = str(tmp_path_factory.mktemp("standing") / ".lab")
    try:
        up(lab_directory=directory)
        yield directory
    finally:
        down(lab_directory=directory)


def test_both_apps_answer_and_the_task_services_waits_for_its_database(standing):
    details = up(lab_directory=standing).details
    assert httpx.get(f"{details['laravel_url']}/health").status_code == 200
    assert httpx.get(f"{details['task_service_url']}/health").status_code == 503
    make_target(World(Path(standing)), details)
    with psycopg.connect(details["task_service_dsn"]) as session:
        session.execute("CREATE TABLE tasks ()")
    assert httpx.get(f"{details['task_service_url']}/health").status_code == 200


def test_a_killed_app_is_started_again_where_it_was_and_the_other_is_left_alone(standing):
    details = up(lab_directory=standing).details
    laravel, task_service = World(Path(standing)).apps(details)
    untouched, killed = task_service.pid(), psutil.Process(laravel.pid())
    killed.kill()
    killed.wait(10)
    assert up(lab_directory=standing, check=True).changed
    assert laravel.pid() is None
    again = up(lab_directory=standing)
    assert again.changed
    assert again.details == details
    assert httpx.get(f"{details['laravel_url']}/health").status_code == 200
    assert task_service.pid() == untouched


def test_the_service_token_is_in_a_closed_file_and_stays(standing):
    file = Path(up(lab_directory=standing).details["service_token_file"])
    token = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    for app in World(Path(standing)).apps(World(Path(standing)).endpoints()):
        process = psutil.Process(app.pid())
        assert token.strip() not in " ".join([*process.cmdline(), *process.environ().values()])
    World(Path(standing)).laravel_server(0).stop()
    assert up(lab_directory=standing).changed
    assert file.read_text() == token


def test_a_fault_is_switched_on_and_off_and_check_mode_touches_nothing(standing):
    url = up(lab_directory=standing).details["task_service_url"]
    for kind in [*KINDS, "none"]:
        before = httpx.get(f"{url}/lab/faults").json()
        predicted = fault(lab_directory=standing, lab_fault=kind, check=True)
        assert httpx.get(f"{url}/lab/faults").json() == before
        done = fault(lab_directory=standing, lab_fault=kind)
        assert (predicted.changed, predicted.details) == (done.changed, done.details)
        assert done.changed is (before != done.details)
        assert httpx.get(f"{url}/lab/faults").json() == done.details
        assert not fault(lab_directory=standing, lab_fault=kind).changed


def test_a_fault_of_a_lab_that_is_down_is_refused(lab):
    with pytest.raises(Refused, match=r"does not run.*lab-up\.yml"):
        fault(lab_directory=lab, lab_fault="errors")
