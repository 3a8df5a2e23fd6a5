"""The loop around the engine as a real process, with real signals; the worker in it does what files tell it to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from lab.servers.postgres_server import free_port
from task_migration.runtime import health_endpoint
from timed import fastest, seconds_of

# Each step carries one entry while "work" is there. "down", "refused" and "problem" are what goes wrong.
WORKER = """
import logging, sys, time
from pathlib import Path
from signal import SIGINT, SIGTERM
import psycopg
from task_migration.errors import Failed, MigrationError, Refused
from task_migration.postgres.database import Unreachable
from task_migration.runtime import run_loop
from task_migration.runtime.stop_signal import Stop
from task_migration.sync.sync_worker import SyncSnapshot, SyncStep

here, port = Path(sys.argv[1]), int(sys.argv[2])
run_loop.BLOCKED_SECONDS = 0.3

def there(name):
    return (here / name).exists()

class Worker:
    def connect(self):
        if there("down"):
            raise Unreachable("Laravel's database cannot be reached")
    def step(self):
        if there("down"):
            raise Failed("the connection was lost")
        if there("raw"):
            raise psycopg.OperationalError("a title of somebody's")
        if there("refused"):
            raise Refused("tasks has a column that no mapping knows", measured="colour")
        if there("off"):
            return SyncStep(paused=True)
        if there("slow"):
            (here / "began").touch()
            until = time.monotonic() + 10
            while not there("enough") and time.monotonic() < until:
                time.sleep(0.01)
            (here / "ended").touch()
            return SyncStep(entries=1)
        if there("work"):
            time.sleep(0.001)
            return SyncStep(entries=1, latencies=(0.004,), conflicts=1)
        return SyncStep()
    def snapshot(self):
        problem = (here / "problem").read_text() if there("problem") else ""
        return SyncSnapshot(0, None, 0.0, True, 0, 0, problem)
    def close(self):
        pass

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
stop = Stop().on_signals(SIGTERM, SIGINT)
try:
    run_loop.serve(Worker(), direction="forward", health_port=port, stop=stop, history=here / "lag.jsonl")
except MigrationError as error:
    print(error)
    sys.exit(1)
"""


class Sync:
    """One process that serves; ``here`` is the folder of what goes wrong."""

    def __init__(self, here, port):
        self.here, self.port = here, port
        self.log = here / "log"
        with self.log.open("a") as log:
            command = [sys.executable, "-c", WORKER, str(here), str(port)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def becomes(self, state, seconds=30.0):
        """Waits until health says so; what else it says then."""
        until = time.monotonic() + seconds
        while True:
            said = health_endpoint.ask(self.port)
            if said and said["state"] == state:
                return said
            assert time.monotonic() < until, (said, self.log.read_text())
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)

    def now(self, *names):
        """Exactly these things go wrong from now on."""
        for name in ("down", "raw", "refused", "off", "slow", "work", "problem"):
            if name in names:
                (self.here / name).write_text("capture is not complete on tasks")
            else:
                (self.here / name).unlink(missing_ok=True)


@pytest.fixture
def sync(tmp_path):
    started = []

    def start(port=0):
        started.append(Sync(tmp_path, port or free_port()))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_a_database_that_goes_away_and_comes_back_is_waited_for(sync, tmp_path):
    (tmp_path / "down").touch()
    running = sync()
    running.becomes("reconnecting")
    running.now("work")
    running.becomes("running")
    running.now("down")
    time.sleep(1)
    assert running.becomes("reconnecting")["last_error"].endswith("Laravel's database cannot be reached")
    running.now("work")
    before = running.becomes("running")["entries_total"]
    deadline = time.monotonic() + 30
    while (said := running.becomes("running"))["entries_total"] <= before:
        assert time.monotonic() < deadline
    assert said["lag_ms"]["p95"] == pytest.approx(4, rel=0.01)
    assert running.stop() == 0
    log = running.log.read_text()
    assert log.count("reconnecting: ") < 8  # said when it is news, not at each try
    assert "conflicts so far" in log
    assert log.splitlines()[-1].startswith("sync forward stops; ")
    assert json.loads((tmp_path / "lag.jsonl").read_text().splitlines()[0])["direction"] == "forward"


def test_the_switch_is_honoured_within_a_second_both_ways(sync, tmp_path):
    (tmp_path / "work").touch()
    running = sync()
    running.becomes("running")

    def seconds_there_and_back():
        running.now("off")
        there = seconds_of(lambda: running.becomes("paused"))
        running.now("work")
        return max(there, seconds_of(lambda: running.becomes("running")))

    assert fastest(seconds_there_and_back, 1) < 1


def test_what_a_human_must_set_right_stops_the_carrying_and_not_the_process(sync, tmp_path):
    (tmp_path / "work").touch()
    running = sync()
    running.becomes("running")
    running.now("refused")
    assert "measured: colour" in running.becomes("blocked")["last_error"]
    running.now("work", "problem")
    time.sleep(0.5)
    said = running.becomes("blocked")
    assert said["last_error"] == "capture is not complete on tasks"
    time.sleep(0.3)
    assert running.becomes("blocked")["entries_total"] == said["entries_total"]
    running.now("work")
    running.becomes("running")
    assert running.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_batch_under_way_is_brought_to_its_end_before_it_stops(sync, tmp_path, number):
    (tmp_path / "slow").touch()
    running = sync()
    while not (tmp_path / "began").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    running.process.send_signal(number)
    assert running.becomes("stopping")
    running.process.send_signal(number)  # the second one cuts nothing either
    time.sleep(0.1)
    assert not (tmp_path / "ended").exists()
    (tmp_path / "enough").touch()
    assert running.process.wait(30) == 0
    assert (tmp_path / "ended").exists()
    assert "1 entries synced in 1 batches" in running.log.read_text()


def test_idle_or_disconnected_it_stops_at_once(sync, tmp_path):
    for trouble in ((), ("down",), ("refused",), ("problem",)):
        for name in trouble:
            (tmp_path / name).write_text("it is not right")
        state = {(): "running", ("down",): "reconnecting"}.get(trouble, "blocked")

        def seconds_to_stop(state=state):
            running = sync()
            running.becomes(state)
            seconds = seconds_of(running.stop)
            assert running.process.returncode == 0
            return seconds

        assert fastest(seconds_to_stop, 1) < 1
        for name in trouble:
            (tmp_path / name).unlink()


def test_a_second_one_on_the_same_port_says_so_in_one_line_and_ends_with_1(sync):
    first = sync()
    first.becomes("running")
    first.log.write_text("")
    second = sync(first.port)
    assert second.process.wait(30) == 1
    assert [f"127.0.0.1:{first.port} is in use" in line for line in second.log.read_text().splitlines()] == [True]
    first.becomes("running")


def test_no_row_s_content_is_in_the_log_when_psycopg_complains(sync, tmp_path):
    (tmp_path / "raw").touch()
    running = sync()
    time.sleep(0.1)
    while "OperationalError" not in running.becomes("reconnecting")["last_error"]:
        time.sleep(0.02)
    assert "title" not in running.log.read_text()
