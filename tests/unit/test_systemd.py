"""Units as systemd must find them, and the calls that make it obey, with a stand-in for systemctl that keeps notes."""

from __future__ import annotations

import configparser
import dataclasses
import shutil
import subprocess
import sys

import pytest
from task_migration.errors import Failed, Refused
from task_migration.runtime.service import Service
from task_migration.runtime.systemd import Systemd, calendar, units_of

NAME = "task-migration-sync-forward"
# Keeps what is enabled and what is active as files beside its notes, as systemctl keeps them in its head.
STAND_IN = """#!/bin/sh
here=$(dirname "$0")
shift
echo "$@" >> "$here/calls"
if [ -e "$here/broken" ]; then echo "Access denied" >&2; exit 4; fi
verb=$1
shift
for unit in "$@"; do
  case "$verb:$unit" in
    *:--now) ;;
    enable:*) touch "$here/active.$unit" ;;
    disable:*) rm -f "$here/active.$unit" ;;
    is-*) test -e "$here/active.$unit" || exit 3 ;;
  esac
done
"""


@pytest.fixture
def notes(tmp_path):
    """The folder of the stand-in and its notes."""
    folder = tmp_path / "systemctl"
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return folder


@pytest.fixture
def host(notes, tmp_path):
    return Systemd(tmp_path / "units", str(notes / "systemctl"))


@pytest.fixture
def service(tmp_path):
    told = tmp_path / "sync.json"
    told.write_text("{}")
    command = (sys.executable, "-m", "task_migration", "sync", "--config", str(told))
    return Service(NAME, "carries changes forward", command, told)


@pytest.fixture
def hourly(service, tmp_path):
    return Service(
        "task-migration-consistency", "checks", service.command, service.configuration, 3600, (tmp_path / "reports",)
    )


def calls(notes):
    """What systemctl was told since the last look, questions aside."""
    path = notes / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.write_text("")
    return [line for line in lines if not line.startswith("is-")]


def parsed(text):
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(text)
    return unit


# The units' content


def test_a_service_is_hardened_and_comes_back_always(service):
    unit = parsed(units_of(service)[f"{NAME}.service"])["Service"]
    wanted = {
        "Restart": "always",
        "RestartSec": "1",
        "KillSignal": "SIGTERM",
        "TimeoutStopSec": "30",
        "NoNewPrivileges": "true",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "ProtectHome": "read-only",
        "PrivateTmp": "true",
        "PrivateDevices": "true",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "SystemCallFilter": "@system-service",
        "MemoryMax": "1G",
    }
    assert {key: unit[key] for key in wanted} == wanted


def test_a_service_runs_as_the_owner_of_its_configuration(service):
    unit = parsed(units_of(service)[f"{NAME}.service"])["Service"]
    assert unit["User"] == service.configuration.owner()


def test_a_service_writes_to_its_own_folders_only(hourly, tmp_path):
    unit = parsed(units_of(hourly)["task-migration-consistency.service"])["Service"]
    assert unit["ReadWritePaths"] == f'"{tmp_path / "reports"}"'


def test_a_periodic_service_has_a_timer_that_makes_up_for_sleep_and_is_not_restarted(hourly):
    units = units_of(hourly)
    timer = parsed(units["task-migration-consistency.timer"])["Timer"]
    assert (timer["OnCalendar"], timer["Persistent"]) == ("*-*-* 00/1:00:00", "true")
    service = parsed(units["task-migration-consistency.service"])
    assert service["Service"]["Type"] == "oneshot"
    assert "Restart" not in service["Service"]
    assert "Install" not in service


def test_words_reach_the_program_as_they_are(service, tmp_path):
    odd = Service(NAME, "100 % sure", ("/bin/echo", "a b", "$HOME", "%h", 'say "x"', "\\"), service.configuration)
    text = units_of(odd)[f"{NAME}.service"]
    assert r'ExecStart="/bin/echo" "a b" "$$HOME" "%%h" "say \"x\"" "\\"' in text
    assert "Description=100 %% sure" in text


@pytest.mark.parametrize(
    "broken", [{"name": "../x"}, {"name": "A"}, {"description": "a\nUser=root"}, {"command": ("a\n",)}]
)
def test_nothing_slips_a_line_into_a_unit(service, broken):
    with pytest.raises(Refused):
        dataclasses.replace(service, **broken)


@pytest.mark.parametrize("seconds", [0, -3600, 7, 61, 5400, 5 * 3600])
def test_a_period_that_no_calendar_knows_is_refused(seconds):
    with pytest.raises(Refused, match=f"measured: {seconds} s"):
        calendar(seconds)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")
def test_systemd_itself_finds_no_fault(service, hourly, tmp_path):
    files = []
    for one in (service, hourly):
        for name, text in units_of(one).items():
            files.append(tmp_path / name)
            files[-1].write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for seconds in (30, 60, 900, 3600, 7200, 86400):
        subprocess.run(["systemd-analyze", "calendar", calendar(seconds)], capture_output=True, check=True)


# What systemctl is told


def test_install_twice_changes_nothing_the_second_time(host, service, notes):
    assert host.would_change(service)
    assert host.install(service)
    assert calls(notes) == ["daemon-reload", f"enable --now {NAME}.service"]
    assert host.running(NAME)
    assert not host.would_change(service)
    assert not host.install(service)
    assert calls(notes) == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")
def test_systemd_itself_finds_little_that_a_service_may_do(service, tmp_path):
    file = tmp_path / f"{NAME}.service"
    file.write_text(units_of(service)[file.name])
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_a_look_changes_nothing(host, service, notes):
    host.would_change(service)
    assert calls(notes) == []
    assert not host.directory.exists()


def test_a_changed_configuration_restarts_the_service(host, service, notes):
    host.install(service)
    calls(notes)
    service.configuration.write_text('{"other": 1}')
    assert host.install(service)
    assert calls(notes) == [f"disable --now {NAME}.service", "daemon-reload", f"enable --now {NAME}.service"]


def test_a_service_that_was_stopped_by_hand_is_started_again(host, service, notes):
    host.install(service)
    (notes / f"active.{NAME}.service").unlink()
    assert not host.running(NAME)
    assert host.install(service)
    assert host.running(NAME)


def test_a_periodic_service_is_its_timer(host, hourly, notes):
    assert host.install(hourly)
    assert calls(notes) == ["daemon-reload", "enable --now task-migration-consistency.timer"]
    assert host.running(hourly.name)
    assert not host.install(hourly)
    assert hourly.writes[0].is_dir()


def test_a_service_that_is_no_longer_periodic_leaves_no_timer(host, hourly, notes):
    host.install(hourly)
    calls(notes)
    host.install(Service(hourly.name, "checks", hourly.command, hourly.configuration))
    assert [file.name for file in host.directory.iterdir()] == [f"{hourly.name}.service"]
    assert calls(notes)[0] == f"disable --now {hourly.name}.timer {hourly.name}.service"


def test_remove_twice_finds_nothing_the_second_time(host, hourly, notes):
    host.install(hourly)
    calls(notes)
    assert host.remove(hourly.name)
    assert calls(notes) == [f"disable --now {hourly.name}.timer {hourly.name}.service", "daemon-reload"]
    assert not list(host.directory.iterdir())
    assert not host.installed(hourly.name)
    assert not host.remove(hourly.name)
    assert calls(notes) == []


def test_killed_in_the_middle_of_a_change_the_next_install_ends_it(host, service, notes):
    host.install(service)
    service.configuration.write_text('{"other": 1}')
    (notes / "broken").touch()
    with pytest.raises(Failed, match="measured: Access denied"):
        host.install(service)
    (notes / "broken").unlink()
    # As if the process had ended right after it wrote the unit.
    host._disable(NAME)
    host._write(host.directory / f"{NAME}.service", units_of(service)[f"{NAME}.service"])
    assert host.install(service)
    assert host.running(NAME)


def test_a_machine_without_systemd_is_refused_and_nothing_is_left(tmp_path, service):
    host = Systemd(tmp_path / "units", str(tmp_path / "no-systemctl"))
    with pytest.raises(Refused, match="a machine with systemd"):
        host.install(service)
    assert not (tmp_path / "units").exists()
