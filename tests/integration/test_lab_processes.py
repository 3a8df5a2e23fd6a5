"""A background process of the lab: started once, known for sure, ended by its own process id."""

from __future__ import annotations

import json
import sys
import time

import psutil
import pytest
from lab.servers.postgres_server import alive, free_port
from lab.servers.processes import START_SECONDS, BackgroundProcess, is_listening, leftover_processes
from task_migration.errors import Failed

SLEEPS = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


@pytest.fixture
def make(tmp_path):
    """``make(program, *words)``: a process that is ended after the test."""
    made = []

    def background(program=SLEEPS, *words):
        one = BackgroundProcess("one", tmp_path / "processes", (sys.executable, "-c", program, str(tmp_path), *words))
        made.append(one)
        return one

    yield background
    for one in made:
        one.stop(seconds=0.1)


def test_it_is_started_once_and_ended_once(make):
    one = make()
    assert one.start()
    process = psutil.Process(one.pid())
    assert not one.start()
    assert one.stop()
    assert not alive(process)
    assert not one.stop()
    assert not one.pid_file.exists()


def test_it_does_not_belong_to_who_started_it_and_learns_no_secret_of_his(make, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never seen")
    one = make()
    one.start(environment={"GIVEN": "seen"})
    process = psutil.Process(one.pid())
    assert "AWS_SECRET_ACCESS_KEY" not in process.environ()
    assert process.environ()["GIVEN"] == "seen"
    assert process.cwd() == "/"
    assert one.log.stat().st_mode & 0o777 == 0o600


def test_another_command_replaces_it(make):
    first, second = make(), make(SLEEPS, "changed")
    first.start()
    process = psutil.Process(first.pid())
    assert second.pid() is None
    assert second.start()
    assert not alive(process)
    assert first.pid() is None
    assert second.pid() is not None


def test_a_strangers_process_that_has_its_number_is_left_alone(make):
    one = make()
    one.pid_file.parent.mkdir()
    one.pid_file.write_text(json.dumps({"pid": psutil.Process().pid, "command": list(one.command)}))
    assert one.pid() is None
    assert not one.stop()
    one.pid_file.write_text("no JSON")
    assert one.start()


def test_one_that_does_not_hear_sigterm_is_ended_all_the_same(make):
    one = make(DEAF)
    one.start(ready=lambda: "deaf" in one.log.read_text())
    process = psutil.Process(one.pid())
    assert one.stop(seconds=0.2)
    assert not alive(process)


def test_one_that_ends_at_once_fails_with_the_last_words_of_its_log(make):
    one = make("raise SystemExit('the port is taken')")
    with pytest.raises(Failed, match="ended at once; measured: the port is taken"):
        one.start(ready=lambda: False)


def test_one_that_never_gets_ready_fails_in_time(make):
    began = time.monotonic()
    with pytest.raises(Failed, match=r"is not ready after 0\.3 s"):
        make().start(ready=lambda: False, seconds=0.3)
    assert time.monotonic() - began < START_SECONDS / 2


def test_a_process_of_the_lab_is_found_though_its_pid_file_is_gone(tmp_path):
    port = free_port()
    words = ("--port", str(port), "--dsn", f"host=127.0.0.1 port=1 passfile={tmp_path}/x")
    one = BackgroundProcess("app", tmp_path / "processes", (sys.executable, "-m", "lab.apps.laravel_app", *words))
    one.start(ready=lambda: is_listening(port))
    pid = one.pid()
    one.pid_file.unlink()
    assert [stray.pid for stray in leftover_processes(tmp_path)] == [pid]
    assert leftover_processes(tmp_path / "another") == []
    leftover_processes(tmp_path)[0].terminate()
