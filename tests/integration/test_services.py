"""What runs on when the playbook has ended: started once, restarted only when it has to be, taken away for good."""

from __future__ import annotations

import stat

import pytest
from by_options import call
from lab.servers.postgres_server import free_port
from task_migration.control.sync_switch import sync_switch
from task_migration.errors import Refused
from task_migration.runtime import configuration, health_endpoint
from task_migration.runtime.catch_up import catch_up
from task_migration.runtime.service_host import host
from task_migration.runtime.services import service_name, services
from task_migration.runtime.stop_signal import Stop
from task_migration.runtime.sync_status import SyncStatus


@pytest.fixture
def told(copied, tmp_path):
    """What the inventory says; everything is taken away in the end."""
    values = {
        **copied.both,
        "migration_environment": "local",
        "service_kind": "process",
        "service_directory": str(tmp_path / "services"),
        "sync_health_ports": {"forward": free_port(), "backward": free_port()},
        "aws_region": "ap-northeast-1",
    }
    yield values
    for name in ("sync_forward", "sync_backward", "consistency"):
        call(services, name=name, state="absent", **values)


def test_the_sync_is_started_once_catches_up_and_is_taken_away(copied, told, tmp_path):
    copied.laravel("UPDATE tasks SET title = 'while nobody carried' WHERE id = 60")
    sync_switch(laravel_dsn=copied.laravel_dsn, name="sync_forward", state="on")
    sync = {"name": "sync_forward", **told}
    assert call(services, **sync, check=True).changed
    assert not (tmp_path / "services").exists()
    assert call(services, **sync).changed
    assert not call(services, **sync).changed
    assert not call(services, **sync, check=True).changed
    file = tmp_path / "services/sync.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    caught = catch_up(laravel_dsn=copied.laravel_dsn, sync_health_ports=told["sync_health_ports"])
    assert (caught.details["state"], caught.details["pending"]) == ("running", 0)
    assert copied.task(60, "title") == ("while nobody carried",)
    file.unlink()
    assert call(services, **{**sync, "state": "absent"}, check=True).changed
    assert call(services, **{**sync, "state": "absent"}).changed
    assert not call(services, **{**sync, "state": "absent"}).changed
    assert health_endpoint.ask(told["sync_health_ports"]["forward"]) is None


def test_workers_come_and_go_with_their_number(copied, told, tmp_path):
    sync = {"name": "sync_forward", **told}
    keeper = host("process", tmp_path / "services")
    second = service_name("local", "sync_forward", 2)
    call(services, **sync, sync_workers=2)
    assert keeper.running(second)
    assert call(services, **sync, sync_workers=1, check=True).changed
    call(services, **sync, sync_workers=1)
    assert not keeper.installed(second)
    assert keeper.running(service_name("local", "sync_forward"))


def test_a_changed_configuration_restarts_what_reads_it(copied, told, tmp_path):
    check = {"name": "consistency", **told}
    assert call(services, **check).changed
    assert call(services, **check, alert_topic_arn="arn:aws:sns:ap-northeast-1:1:topic", check=True).changed
    assert call(services, **check, alert_topic_arn="arn:aws:sns:ap-northeast-1:1:topic").changed
    kept = configuration.read(tmp_path / "services/sync.json")
    assert kept.consistency["alert_topic_arn"] == "arn:aws:sns:ap-northeast-1:1:topic"


def test_another_sync_that_answers_there_is_not_taken_for_ours(told):
    port = told["sync_health_ports"]["forward"]
    with (
        health_endpoint.answering(SyncStatus("forward", Stop()), port),
        pytest.raises(Refused, match="another sync listens"),
    ):
        call(services, name="sync_forward", **told)


def test_a_number_of_workers_that_can_not_be_is_refused(told):
    with pytest.raises(Refused, match="allowed: 1 to 8"):
        call(services, name="sync_forward", **told, sync_workers=9)


@pytest.fixture
def job_of_awx(monkeypatch):
    monkeypatch.setenv("AWX_ISOLATED_DATA_DIR", "/runner/artifacts/71")


@pytest.mark.parametrize("name", ["sync_forward", "consistency"])
def test_nothing_is_begun_that_would_end_with_a_job_of_awx(told, job_of_awx, tmp_path, name):
    for check in (True, False):
        with pytest.raises(Refused, match=r"would stop with this AWX job.*no sync forward.*run this playbook on"):
            call(services, name=name, **told, check=check)
    assert not (tmp_path / "services").exists()


@pytest.mark.parametrize("name", ["sync_forward", "consistency"])
def test_what_the_machine_keeps_alive_is_enough_for_a_job_of_awx_and_is_left_to_it(told, job_of_awx, tmp_path, name):
    with health_endpoint.answering(SyncStatus("forward", Stop()), told["sync_health_ports"]["forward"]):
        assert "kept running by the machine" in call(services, name=name, **told).message
        away = call(services, name=name, **told, state="absent")
    assert (away.changed, "managed by the machine" in away.message) == (False, True)
    assert "not installed" in call(services, name=name, **told, state="absent").message
    assert not (tmp_path / "services").exists()


def test_a_sync_of_the_other_direction_is_not_enough(told, job_of_awx):
    port = told["sync_health_ports"]["forward"]
    with (
        health_endpoint.answering(SyncStatus("backward", Stop()), port),
        pytest.raises(Refused, match="cannot be started here"),
    ):
        call(services, name="sync_forward", **told)


def test_ansible_runner_without_a_container_begins_services(told, monkeypatch, tmp_path):
    monkeypatch.setenv("AWX_ISOLATED_DATA_DIR", str(tmp_path / "artifacts/1"))
    assert call(services, name="sync_forward", **told, check=True).changed


def test_two_environments_share_a_machine():
    assert service_name("staging", "sync_forward") != service_name("production", "sync_forward")
