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
import yaml
from lab import up as lab_up
from lab.down import down
from lab.fault import fault
from lab.gateway.rest_api import RESOURCES
from lab.locations import (
    API_NAME,
    AWS_REGION,
    DB_INSTANCE,
    LOAD_BALANCERS,
    REST_API_ID,
    S3_BUCKET,
    STAGE,
    TARGET_GROUPS,
    VARIABLE,
    Locations,
)
from lab.servers.postgres_server import alive, main
from lab.up import up
from task_migration.errors import Refused
from task_migration.external.aws import Aws


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
    text = Locations(Path(lab)).endpoints_file.read_text()
    assert json.loads(text) == details
    assert "password" not in text
    ports = {name: value for name, value in details.items() if name.endswith("_port")}
    assert len(set(ports.values())) == len(ports) == 6


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
    Locations(directory).laravel_server(0).stop()
    assert up(lab_directory=lab, check=True).changed
    assert Locations(directory).laravel_server(0).pid() is None


def test_down_leaves_no_process_and_no_file_and_again_changes_nothing(lab):
    world = Locations(Path(lab))
    details = up(lab_directory=lab).details
    make_target(world, details)
    world.terraform_directory.mkdir()
    (world.terraform_directory / "terraform.tfstate").write_text("{}")
    servers = [world.laravel_server(0), world.task_service_server(0)]
    processes = [psutil.Process(one.pid()) for one in (*servers, *world.processes(details).values())]
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
    world = Locations(Path(lab))
    details = up(lab_directory=lab).details
    make_target(world, details)
    assert value(details["task_service_dsn"], "SELECT current_user") == "task_service_admin"
    assert not up(lab_directory=lab).changed


def test_after_the_machine_restarted_up_brings_both_servers_back_with_their_rows(lab):
    world = Locations(Path(lab))
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

    monkeypatch.setattr(lab_up.laravel_tables, "fill", killed)
    with pytest.raises(KeyboardInterrupt):
        up(lab_directory=lab)
    monkeypatch.undo()
    assert up(lab_directory=lab, check=True).changed
    assert value(up(lab_directory=lab).details["laravel_dsn"], "SELECT count(*) FROM tasks") == 150


@pytest.mark.parametrize("running", [True, False])
def test_another_size_is_refused_and_changes_nothing(lab, running):
    details = up(lab_directory=lab).details
    if not running:
        Locations(Path(lab)).laravel_server(0).stop()
    before = everything(Path(lab))
    with pytest.raises(Refused, match=r"filled with 150 tasks; requested: 300.*lab-down\.yml"):
        up(lab_directory=lab, lab_tasks=300)
    assert everything(Path(lab)) == before
    up(lab_directory=lab)
    assert value(details["laravel_dsn"], "SELECT count(*) FROM tasks") == 150


def test_too_small_a_lab_is_refused(lab):
    with pytest.raises(Refused, match=r"lab_tasks=149.*150 or more"):
        up(lab_directory=lab, lab_tasks=149)
    assert not Path(lab).exists()


def test_down_refuses_what_the_lab_did_not_make_and_leaves_everything(lab):
    world = Locations(Path(lab))
    details = up(lab_directory=lab).details
    world.task_service_directory.mkdir()
    (world.task_service_directory / "thesis.txt").write_text("years of work")
    for check in (True, False):
        with pytest.raises(Refused, match="was not created by the lab"):
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
    world = Locations(Path(lab))
    up(lab_directory=lab)
    server = world.laravel_server(0)
    if server.home == server.directory:
        pytest.skip("here the data is in the directory itself, and the server ends with it")
    processes = [psutil.Process(one.pid()) for one in (server, *world.processes(world.endpoints()).values())]
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
    make_target(Locations(Path(standing)), details)
    with psycopg.connect(details["task_service_dsn"]) as session:
        session.execute("CREATE TABLE tasks ()")
    assert httpx.get(f"{details['task_service_url']}/health").status_code == 200


@pytest.mark.parametrize("name", ["laravel_app", "task_service_app", "gateway", "gateway_metrics"])
def test_a_killed_process_is_started_again_where_it_was_and_the_others_are_left_alone(standing, name):
    details = up(lab_directory=standing).details
    processes = Locations(Path(standing)).processes(details)
    others = {other.name: other.pid() for other in processes.values() if other.name != name}
    kill(processes[name])
    assert up(lab_directory=standing, check=True).changed
    assert processes[name].pid() is None
    again = up(lab_directory=standing)
    assert again.changed
    assert again.details == details
    assert processes[name].pid() is not None
    assert {other: processes[other].pid() for other in others} == others
    assert through_the_gateway(details).headers["X-Served-By"] == "laravel"


def kill(process):
    killed = psutil.Process(process.pid())
    killed.kill()
    killed.wait(10)


def through_the_gateway(details):
    name, _, value = Path(details["gateway_probe_headers_file"]).read_text().strip().partition(": ")
    answer = httpx.get(f"{details['gateway_url']}/api/tasks", headers={name: value}, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer


def test_an_aws_that_was_killed_is_made_anew_under_the_same_names_and_points_at_laravel(standing):
    details = up(lab_directory=standing).details
    client = Aws(AWS_REGION, details["aws_endpoint_url"]).client("apigateway")
    patch = {"op": "replace", "path": f"/variables/{VARIABLE}", "value": details["task_service_upstream"]}
    client.update_stage(restApiId=REST_API_ID, stageName=STAGE, patchOperations=[patch])
    assert not up(lab_directory=standing).changed  # traffic may well be there
    kill(Locations(Path(standing)).processes(details)["aws"])
    again = up(lab_directory=standing)
    assert again.changed
    assert again.details == details
    variables = client.get_stage(restApiId=details["gateway_rest_api_id"], stageName=STAGE)["variables"]
    assert variables == {VARIABLE: details["laravel_upstream"]}
    assert through_the_gateway(details).headers["X-Served-By"] == "laravel"


def test_a_stage_that_up_was_killed_before_making_is_made(standing):
    details = up(lab_directory=standing).details
    client = Aws(AWS_REGION, details["aws_endpoint_url"]).client("apigateway")
    client.delete_stage(restApiId=REST_API_ID, stageName=STAGE)
    kill(Locations(Path(standing)).processes(details)["gateway"])
    assert up(lab_directory=standing).changed
    assert through_the_gateway(details)
    assert not up(lab_directory=standing).changed


def test_the_inventory_of_the_lab_names_what_the_lab_is_made_of(project):
    inventory = yaml.safe_load((project / "inventories/local/group_vars/all.yml").read_text())
    source = inventory["metric_source"]
    assert (inventory["s3_bucket"], inventory["aws_region"]) == (S3_BUCKET, AWS_REGION)
    assert (inventory["gateway_stage"], inventory["gateway_variable"]) == (STAGE, VARIABLE)
    assert (source["api_name"], source["stage"], source["resources"]) == (API_NAME, STAGE, list(RESOURCES))
    assert (source["load_balancer"], source["target_group"]) == (
        LOAD_BALANCERS["task_service"],
        TARGET_GROUPS["task_service"],
    )
    assert source["db_instance"] == DB_INSTANCE


def test_the_headers_of_a_probe_are_in_a_closed_file(standing):
    file = Path(up(lab_directory=standing).details["gateway_probe_headers_file"])
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    assert up(lab_directory=standing, check=True).changed
    assert up(lab_directory=standing).changed
    assert through_the_gateway(up(lab_directory=standing).details)


def test_the_service_token_is_in_a_closed_file_and_stays(standing):
    file = Path(up(lab_directory=standing).details["service_token_file"])
    token = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    for one in Locations(Path(standing)).processes(Locations(Path(standing)).endpoints()).values():
        process = psutil.Process(one.pid())
        assert token.strip() not in " ".join([*process.cmdline(), *process.environ().values()])
    Locations(Path(standing)).laravel_server(0).stop()
    assert up(lab_directory=standing).changed
    assert file.read_text() == token


KINDS = ("none", "errors", "slow", "down", "garbage")


@pytest.mark.parametrize("side", ["task_service", "laravel"])
def test_a_fault_is_switched_on_and_off_and_check_mode_touches_nothing(standing, side):
    url = up(lab_directory=standing).details[f"{side}_url"]
    asked = {"lab_directory": standing, "lab_fault_side": side}
    for kind in [*KINDS, "none"]:
        before = httpx.get(f"{url}/lab/faults").json()
        predicted = fault(**asked, lab_fault=kind, check=True)
        assert httpx.get(f"{url}/lab/faults").json() == before
        done = fault(**asked, lab_fault=kind)
        assert (predicted.changed, predicted.details) == (done.changed, done.details)
        assert done.changed is (before != done.details)
        assert httpx.get(f"{url}/lab/faults").json() == done.details
        assert not fault(**asked, lab_fault=kind).changed


def test_the_share_of_errors_is_chosen(standing):
    done = fault(lab_directory=standing, lab_fault="errors", lab_fault_percent=5)
    assert done.details["error_rate"] == 0.05
    assert "5 % of the requests to the Task Service" in done.message
    fault(lab_directory=standing, lab_fault="none")


@pytest.mark.parametrize("side", ["task_service", "laravel"])
def test_a_fault_of_a_lab_that_is_down_is_refused(lab, side):
    with pytest.raises(Refused, match=r"is not running.*lab-up\.yml"):
        fault(lab_directory=lab, lab_fault="errors", lab_fault_side=side)
