"""Services without systemd: real supervisors over a program that does nothing but live, and real kills."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from lab.supervisor.supervised import SUPERVISOR
from lab.supervisor.supervisor import ServiceFiles
from task_migration.errors import Refused
from task_migration.runtime.service import Service
from task_migration.runtime.service_host import host
from task_migration.runtime.systemd import Systemd

NAME = "task-migration-sync-forward"
# Notes its number, and goes on until it is told to stop.
PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("told to stop", flush=True), sys.exit(0)))
with open(sys.argv[1], "a") as lives:
    lives.write(f"{os.getpid()}\\n")
time.sleep(float(sys.argv[2]))
"""


class Lives:
    """The numbers of the processes that have been the service, in order."""

    def __init__(self, path):
        self.path = path

    def __call__(self):
        return [int(line) for line in self.path.read_text().split()] if self.path.exists() else []

    def alive(self):
        return [pid for pid in self() if is_there(pid)]

    def after(self, count, seconds=2.0):
        """Waits until there have been more than so many; the last."""
        until = time.monotonic() + seconds
        while len(self()) <= count:
            assert time.monotonic() < until, f"{len(self())} lives after {seconds} s"
            time.sleep(0.02)
        return self()[-1]


def is_there(pid):
    """Whether the process lives; one that only waits to be buried does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def lives(tmp_path):
    return Lives(tmp_path / "lives")


@pytest.fixture
def service(tmp_path, lives):
    told = tmp_path / "sync.json"
    told.write_text("{}")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    return Service(NAME, "a program", (sys.executable, str(program), str(lives.path), "60"), told)


@pytest.fixture
def supervised(tmp_path, lives):
    kept = host("process", tmp_path / "run")
    yield kept
    kept.remove(NAME)
    for pid in lives.alive():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        pytest.fail(f"process {pid} was left behind")


@pytest.fixture
def place(tmp_path):
    return ServiceFiles(tmp_path / "run", NAME)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    gone(pid)


def gone(pid, seconds=2.0):
    until = time.monotonic() + seconds
    while is_there(pid):
        assert time.monotonic() < until, f"process {pid} is still there"
        time.sleep(0.02)


def test_install_twice_starts_one_and_changes_nothing_the_second_time(supervised, service, lives):
    assert supervised.would_change(service)
    assert not lives()
    assert supervised.install(service)
    lives.after(0)
    assert supervised.running(NAME)
    assert not supervised.would_change(service)
    assert not supervised.install(service)
    assert len(lives()) == 1


def test_a_look_leaves_nothing_behind(supervised, service, tmp_path):
    assert supervised.would_change(service)
    assert not supervised.running(NAME)
    assert not supervised.installed(NAME)
    assert not supervised.remove(NAME)
    assert not (tmp_path / "run").exists()


def test_a_killed_service_is_back_within_two_seconds(supervised, service, lives):
    supervised.install(service)
    first = lives.after(0)
    os.kill(first, signal.SIGKILL)
    second = lives.after(1, seconds=2)
    assert lives.alive() == [second]
    assert not supervised.would_change(service)


def test_a_service_dies_with_its_supervisor_and_install_brings_back_one(supervised, service, lives, place):
    supervised.install(service)
    first = lives.after(0)
    kill(place.supervisor.holder())
    assert supervised.install(service)  # at once, while the first one may still be dying
    second = lives.after(1)
    gone(first)
    assert lives.alive() == [second]
    assert supervised.running(NAME)


def test_a_changed_configuration_restarts_it_and_lets_it_end_first(supervised, service, lives, place):
    supervised.install(service)
    lives.after(0)
    service.configuration.write_text('{"other": 1}')
    assert supervised.would_change(service)
    assert supervised.install(service)
    second = lives.after(1)
    assert lives.alive() == [second]
    assert "told to stop" in place.log.read_text()
    assert not supervised.install(service)


def test_remove_lets_it_end_and_leaves_the_log_only(supervised, service, lives, place, tmp_path):
    supervised.install(service)
    pid = lives.after(0)
    assert supervised.remove(NAME)
    assert not is_there(pid)
    assert [file.name for file in (tmp_path / "run").iterdir()] == [f"{NAME}.log"]
    assert "told to stop" in place.log.read_text()
    assert not supervised.running(NAME)
    assert not supervised.remove(NAME)


def test_remove_finds_the_service_of_a_supervisor_that_was_just_killed(supervised, service, lives, place):
    supervised.install(service)
    pid = lives.after(0)
    kill(place.supervisor.holder())
    assert supervised.remove(NAME)
    gone(pid)


def test_a_number_that_became_another_s_is_never_signalled(supervised, service, lives, place):
    supervised.install(service)
    lives.after(0)
    supervised.remove(NAME)
    place.directory.mkdir(exist_ok=True)
    place.supervisor.path.write_text(f"{os.getpid():020d}")  # as after a restart of the machine
    place.launch_spec.write_text("{}")
    assert not supervised.running(NAME)
    assert supervised.install(service)
    lives.after(1)


def test_a_second_supervisor_of_the_same_service_gives_way(supervised, service, lives, place, tmp_path):
    supervised.install(service)
    lives.after(0)
    command = (sys.executable, "-m", SUPERVISOR, "--directory", str(tmp_path / "run"), "--name", NAME)
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1
    assert f"{NAME} already has a supervisor" in done.stdout
    assert len(lives.alive()) == 1


def test_a_periodic_service_runs_at_once_and_then_once_per_period(supervised, service, lives):
    periodic = dataclasses.replace(service, command=(*service.command[:-1], "0"), every_seconds=1)
    began = time.monotonic()
    assert supervised.install(periodic)
    lives.after(2, seconds=5)
    assert time.monotonic() - began >= 2
    assert not supervised.install(periodic)


def test_no_secret_of_the_operator_s_shell_reaches_a_service(supervised, service, lives, place, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_PROFILE", "migration")
    supervised.install(service)
    for pid in (lives.after(0), place.supervisor.holder()):
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
        assert b"hidden" not in environment
        assert b"AWS_PROFILE=migration" in environment


def test_a_program_that_can_t_be_started_is_tried_again_and_said(supervised, service, place):
    supervised.install(dataclasses.replace(service, command=("/nowhere/program",)))
    until = time.monotonic() + 3
    while place.log.read_text().count("could not be started") < 2:
        assert time.monotonic() < until, place.log.read_text()
        time.sleep(0.05)
    assert supervised.running(NAME)


def test_there_are_two_hosts_and_no_other(tmp_path):
    assert isinstance(host("systemd", tmp_path), Systemd)
    with pytest.raises(Refused, match="allowed: process or systemd"):
        host("cron", tmp_path)
