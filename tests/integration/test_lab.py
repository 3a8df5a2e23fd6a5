"""The lab comes up and goes down: does it, again changes nothing, check mode predicts and touches nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import psutil
import psycopg
import pytest
from lab import up as lab_up
from lab.down import down
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
    assert details["task_service_port"] != details["laravel_port"]


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
    processes = [psutil.Process(server.pid()) for server in servers]
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
    process = psutil.Process(server.pid())
    shutil.rmtree(world.directory)
    assert down(lab_directory=lab).changed
    assert not alive(process)
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
