"""The traffic remembers what was acknowledged, and the check finds what became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import httpx
import pytest
from lab.apps import service_token
from lab.apps.laravel_app import LaravelApi
from lab.apps.task_service_app import TaskServiceApi
from lab.gateway.gateway import AccessLog, LabGateway
from lab.gateway.stage_settings import GatewaySettings, Integration, Resource
from lab.load.accounting import account, table
from lab.load.ledger import Ledger, LedgerRequest, read
from lab.load.traffic import SYNC_SECONDS, interpret, main
from lab.servers.postgres_server import free_port
from serving import served
from task_migration.control.sync_switch import sync_switch
from task_migration.runtime import configuration
from task_migration.runtime.service import Service, core_command
from task_migration.runtime.service_host import host
from task_migration.sync import capture

NOTHING = dict.fromkeys(
    ("acknowledged", "present", "superseded", "in conflict", "lost", "doubled", "resurrected", "unknown"), 0
)


# What an answer means


@pytest.mark.parametrize(
    ("method", "status", "raw", "outcome"),
    [
        ("POST", 201, b'{"success":true,"changed":true,"data":{"id":1}}', "acknowledged"),
        ("PUT", 200, b'{"success":true,"changed":false,"data":{"id":1}}', "unchanged"),
        ("DELETE", 204, b"", "acknowledged"),
        ("POST", 204, b"", "unknown"),
        ("DELETE", 200, b"<html>It works!</html>", "unknown"),
        ("POST", 200, b"<html>It works!</html>", "unknown"),
        ("POST", 200, b"[]", "unknown"),
        ("POST", 200, b'{"success":true}', "unknown"),
        ("POST", 404, b'{"success":false,"error":"not there"}', "refused"),
        ("POST", 404, b"<html>no such page</html>", "unknown"),
        ("POST", 500, b'{"success":false,"error":"a fault"}', "unknown"),
        ("POST", 503, b'{"success":false,"error":"no database"}', "unknown"),
    ],
)
def test_only_the_apps_own_words_acknowledge(method, status, raw, outcome):
    assert interpret(method, status, raw)[0] == outcome


# The check


class Told:
    """A ledger that a test writes, and two databases in which it writes what became of it."""

    def __init__(self, sides, file):
        self.sides, self.file, self.ledger = sides, file, Ledger(file)
        self.subs = [sub for (sub,) in sides.laravel("SELECT cognito_sub FROM users WHERE id < 3 ORDER BY id")]

    def task(self, key, *, laravel="A", task_service="A", marker=None):
        """A task of user 1 with these titles; None: not there."""
        marker = marker or f"m-{key}"
        if laravel is not None:
            self.sides.laravel("INSERT INTO tasks (id, user_id, title) VALUES (%s, 1, %s)", key, f"{marker} {laravel}")
        if task_service is not None:
            self.sides.target(
                "INSERT INTO tasks (id, user_id, title, difficulty, created_at, updated_at) "
                "VALUES (%s, %s, %s, 3, now(), now())",
                *(key, self.subs[0], f"{marker} {task_service}"),
            )

    def wrote(self, key, value, at, *, side="laravel", verb="update", outcome="acknowledged", took=0.1, marker=None):
        """A write of the title, begun at second ``at``; a delete and a restore set ``deleted``."""
        marker = marker or f"m-{key}"
        fields = {"title": f"{marker} {value}"} if verb in ("create", "update") else {"deleted": verb == "delete"}
        self.ledger.append(LedgerRequest(side, verb, key, marker, self.subs[0], fields, at, at + took, outcome, 200))

    def conflict(self, key, winner, at):
        self.sides.target(
            "INSERT INTO task_migration.conflict (task_key, winner, at) VALUES (%s, %s, to_timestamp(%s))",
            *(key, winner, at),
        )

    def found(self):
        found = account(
            laravel_dsn=self.sides.laravel_dsn, task_service_dsn=self.sides.task_service_dsn, ledger=self.file
        )
        assert table(found).startswith("requests")
        return {name: found[name] for name in NOTHING if found[name] and name != "acknowledged"}


@pytest.fixture
def told(sides, tmp_path):
    # Only the columns that are read here; the sync's own table has more.
    sides.target("DROP TABLE IF EXISTS task_migration.conflict")
    sides.target("CREATE TABLE task_migration.conflict (task_key bigint, unit text, winner text, at timestamptz)")
    return Told(sides, tmp_path / "ledger")


# What is done to the databases and the ledger, by one task each; and what the check must count then.
FATES = {
    "both sides hold it": (
        lambda told: (told.task(1001), told.wrote(1001, "A", 10)),
        {"present": 1},
    ),
    "the sides differ": (
        lambda told: (told.task(1002, task_service="B"), told.wrote(1002, "A", 10)),
        {"lost": 1},
    ),
    "the other side wrote later": (
        lambda told: (
            told.task(1003),
            told.wrote(1003, "old", 10),
            told.wrote(1003, "A", 20, side="task_service"),
        ),
        {"superseded": 1, "present": 1},
    ),
    "an older write may not win": (
        lambda told: (
            told.task(1004, laravel="old", task_service="old"),
            told.wrote(1004, "old", 10),
            told.wrote(1004, "A", 20),
        ),
        {"lost": 1, "present": 1},
    ),
    "at the same time either may win": (
        lambda told: (
            told.task(1005, laravel="old", task_service="old"),
            told.wrote(1005, "A", 10, took=5),
            told.wrote(1005, "old", 12, side="task_service", took=1),
        ),
        {"superseded": 1, "present": 1},
    ),
    "the other side won a conflict": (
        lambda told: (
            told.task(1006, laravel="old", task_service="old"),
            told.wrote(1006, "A", 20),
            told.conflict(1006, "task_service", 21),
        ),
        {"in conflict": 1},
    ),
    "a conflict from before, and one that this side won, explain nothing": (
        lambda told: (
            told.task(1007, laravel="old", task_service="old"),
            told.wrote(1007, "A", 20),
            told.conflict(1007, "task_service", 19),
            told.conflict(1007, "laravel", 21),
        ),
        {"lost": 1},
    ),
    "what was never answered may have happened at any time after": (
        lambda told: (
            told.task(1008, laravel="B", task_service="B"),
            told.wrote(1008, "A", 10),
            told.wrote(1008, "B", 5, outcome="unknown"),
        ),
        {"superseded": 1, "unknown": 1},
    ),
    "what was refused, or changed nothing, does not count": (
        lambda told: (
            told.task(1009, laravel="B", task_service="B"),
            told.wrote(1009, "B", 10, outcome="refused"),
            told.wrote(1009, "A", 9, outcome="unchanged"),
        ),
        {},
    ),
    "deleted later": (
        lambda told: (
            told.wrote(1010, "A", 10, verb="create"),
            told.wrote(1010, "", 20, verb="delete", side="task_service"),
        ),
        {"superseded": 1, "present": 1},
    ),
    "gone without a delete": (
        lambda told: (told.wrote(1011, "A", 10, verb="create"),),
        {"lost": 1},
    ),
    "deleted, and there all the same": (
        lambda told: (
            told.task(1012),
            told.wrote(1012, "A", 10),
            told.wrote(1012, "", 20, verb="delete"),
        ),
        {"present": 1, "resurrected": 1},
    ),
    "deleted and restored": (
        lambda told: (
            told.task(1013),
            told.wrote(1013, "A", 10),
            told.wrote(1013, "", 20, verb="delete"),
            told.wrote(1013, "", 30, verb="restore"),
        ),
        {"present": 2, "superseded": 1},
    ),
    "the gateway does not tell which side lost the conflict": (
        lambda told: (
            told.task(1016, laravel="old", task_service="old"),
            told.wrote(1016, "A", 20, side=""),
            told.conflict(1016, "laravel", 21),
        ),
        {"in conflict": 1},
    ),
    "a delete that may have been the Task Service's takes what it held for good": (
        lambda told: (
            told.task(1017, laravel="old", task_service="old"),
            told.wrote(1017, "A", 20),
            told.wrote(1017, "", 30, verb="delete", side="", outcome="unknown"),
        ),
        {"superseded": 1, "unknown": 1},
    ),
    "a delete that was Laravel's takes nothing": (
        lambda told: (
            told.task(1018, laravel="old", task_service="old"),
            told.wrote(1018, "A", 20),
            told.wrote(1018, "", 30, verb="delete", outcome="unknown"),
        ),
        {"lost": 1, "unknown": 1},
    ),
    "made twice": (
        lambda told: (
            told.task(1014, marker="m-1014"),
            told.task(1015, laravel=None, marker="m-1014"),
            told.wrote(1014, "A", 10, verb="create", marker="m-1014"),
        ),
        {"present": 1, "doubled": 1},
    ),
}


def test_the_check_tells_every_fate_of_a_write_apart(told):
    for name, (tell, expected) in FATES.items():
        os.truncate(told.file, 0)
        tell(told)
        assert told.found() == expected, name


def test_a_task_that_one_side_lacks_is_lost_there(told):
    told.task(1001, task_service=None)
    told.wrote(1001, "A", 10, verb="create")
    told.task(1002, laravel=None)
    told.wrote(1002, "A", 10, verb="create", side="task_service")
    assert told.found() == {"lost": 2}
    assert told.sides.laravel("SELECT count(*) FROM tasks WHERE id = 1001") == [(1,)]


def test_a_kind_of_pending_is_pending(told):
    told.task(1001)
    told.sides.target("UPDATE tasks SET status = 'in_progress' WHERE id = 1001")
    write = LedgerRequest(
        "laravel", "uncomplete", 1001, "m-1001", told.subs[0], {"status": "pending"}, 1, 2, "acknowledged", 200
    )
    told.ledger.append(write)
    assert told.found() == {"present": 1}
    told.sides.target("UPDATE tasks SET status = 'completed' WHERE id = 1001")
    assert told.found() == {"lost": 1}


def test_a_ledger_that_a_kill_cut_off_is_read_to_its_last_whole_line(tmp_path):
    file = tmp_path / "ledger"
    ledger = Ledger(file)
    write = LedgerRequest("laravel", "create", 1, "m", "sub", {"title": "改\n行"}, 1.5, 2.5, "acknowledged", 201)
    ledger.append(write)
    ledger.append(replace(write, task=2))
    with file.open("ab") as whole:
        whole.truncate(file.stat().st_size - 5)
    assert list(read(file)) == [write]
    Ledger(file).append(replace(write, task=3))
    assert list(read(file)) == [write, replace(write, task=3)]


# The traffic


@pytest.fixture
def endpoints(sides, tmp_path):
    """Both apps on two prepared databases, and the file that tells of them."""
    token = tmp_path / "service-token"
    service_token.make(token)
    file = tmp_path / "endpoints.json"
    laravel, task_service = (
        LaravelApi(sides.laravel_owner_dsn).application(),
        TaskServiceApi(sides.task_service_dsn, token).application(),
    )
    with served(laravel) as laravel_url, served(task_service) as task_service_url:
        told = {
            "laravel_dsn": sides.laravel_dsn,
            "task_service_dsn": sides.task_service_dsn,
            "laravel_url": laravel_url,
            "task_service_url": task_service_url,
        }
        file.write_text(json.dumps(told))
        yield file


def start(endpoints, ledger, *more):
    words = [sys.executable, "-m", "lab.load.traffic", "--endpoints", str(endpoints), "--ledger", str(ledger), *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def sent_to(ledger):
    """How many requests are in the ledger so far."""
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def ended(process):
    """What the traffic counted, ended by SIGTERM."""
    process.send_signal(signal.SIGTERM)
    return json.loads(process.communicate(timeout=60)[0])


def test_every_acknowledged_write_is_found_after_the_drain_and_a_lost_one_is_missed(sides, endpoints, tmp_path, capsys):
    sides.copy()
    ledger = tmp_path / "ledger"
    asked = ["check", "--endpoints", str(endpoints), "--ledger", str(ledger)]
    process = start(endpoints, ledger, "--laravel-writes", "120", "--reads", "40")
    until(lambda: sent_to(ledger) > 400)
    said = ended(process)
    writes = list(read(ledger))
    acknowledged = [write for write in writes if write.outcome == "acknowledged" and write.writes]
    assert process.returncode == 0
    assert said["laravel acknowledged"] == len(acknowledged) > 200
    assert said["laravel read acknowledged"] > 50
    assert {write.verb for write in acknowledged} >= {"create", "update", "complete", "delete", "tags", "group"}
    assert not [write for write in writes if write.outcome == "unknown"]
    assert main(asked) == 1  # nothing was carried yet
    sides.drain()
    capsys.readouterr()
    assert main(asked) == 0, capsys.readouterr().out
    victim = next(write for write in reversed(acknowledged) if write.verb == "create")
    sides.laravel("UPDATE tasks SET title = 'overwritten', deleted_at = NULL WHERE id = %s", victim.task)
    sides.target("UPDATE tasks SET title = 'overwritten' WHERE id = %s", victim.task)
    assert main(asked) == 1
    assert f"task {victim.task}: " in capsys.readouterr().out


def test_sigterm_ends_it_in_order_and_both_sides_were_written_to(endpoints, tmp_path):
    ledger = tmp_path / "ledger"
    process = start(endpoints, ledger, "--laravel-writes", "60", "--task-service-writes", "60")
    until(lambda: sent_to(ledger) >= 60)
    said = ended(process)
    assert process.returncode == 0
    assert ledger.read_bytes().endswith(b"\n")
    counted = {side: sum(w.outcome == "acknowledged" and w.side == side for w in read(ledger)) for side in said_sides()}
    assert counted == {side: said[f"{side} acknowledged"] for side in said_sides()}
    assert min(counted.values()) > 10


def said_sides():
    return ("laravel", "task_service")


def test_an_app_that_fails_acknowledges_nothing(endpoints, tmp_path):
    ledger = tmp_path / "ledger"
    told = json.loads(endpoints.read_text())
    told["task_service_url"] = "http://127.0.0.1:1"
    endpoints.write_text(json.dumps(told))
    process = start(endpoints, ledger, "--laravel-writes", "0", "--task-service-writes", "20", "--seconds", "0.5")
    process.communicate(timeout=20)
    assert {write.outcome for write in read(ledger)} == {"unknown"}
    assert process.returncode == 0


# Through the gateway


class Stage:
    """What the gateway reads of AWS, set by a test."""

    asked = 0.0

    def __init__(self, laravel_url, task_service_url):
        integration = {
            path: Integration("http://${stageVariables.tasksUpstream}" + path, {"proxy": "method.request.path.proxy"})
            for path in ("/api/tasks", "/api/tasks/{proxy}")
        }
        resources = [
            Resource("/api/tasks", {"ANY": integration["/api/tasks"]}),
            Resource("/api/tasks/{proxy+}", {"ANY": integration["/api/tasks/{proxy}"]}),
        ]
        laravel, task_service = (
            {"tasksUpstream": url.removeprefix("http://")} for url in (laravel_url, task_service_url)
        )
        self.active = GatewaySettings("deployment", laravel, 0.0, task_service, resources)

    def weigh(self, percent):
        self.active = replace(self.active, percent=percent)

    def start(self):
        pass

    end = start


@pytest.fixture
def stage(endpoints, tmp_path):
    """The gateway in front of both apps."""
    told = json.loads(endpoints.read_text())
    made = Stage(told["laravel_url"], told["task_service_url"])
    with served(LabGateway(made, AccessLog(tmp_path / "access.log"))) as gateway_url:
        endpoints.write_text(json.dumps({**told, "gateway_url": gateway_url}))
        yield made


@pytest.fixture
def synced(sides, tmp_path):
    """Copied, and carried both ways while the test runs."""
    sides.copy()
    capture.capture(laravel_dsn="", task_service_dsn=sides.task_service_dsn, side="task_service", check=False)
    file, kept = tmp_path / "sync.json", host("process", tmp_path / "run")
    ports = {direction: free_port() for direction in ("forward", "backward")}
    configuration.write(file, configuration.Configuration(sides.both, ports, ""))
    for direction in ports:
        sync_switch(laravel_dsn=sides.laravel_dsn, name=f"sync_{direction}", state="on")
        command = core_command("sync", "--direction", direction, "--config", str(file))
        kept.install(Service(f"sync-{direction}", "carries changes", command, file))
    yield sides
    for direction in ports:
        kept.remove(f"sync-{direction}")


def at_rest(sides):
    """Waits until all changes are carried."""
    waiting = "SELECT count(*) FROM task_migration.change_log"
    until(lambda: sides.ours(waiting) == sides.target(waiting) == [(0,)])


def test_users_of_both_sides_at_once_are_served_without_fail_and_find_what_they_wrote(
    synced, stage, endpoints, tmp_path, capsys
):
    ledger = tmp_path / "ledger"
    process = start(endpoints, ledger, "--gateway-requests", "100")
    for percent in (0, 25, 50, 100, 50):
        stage.weigh(percent)
        before = sent_to(ledger)
        until(lambda before=before: sent_to(ledger) > before + 200)
    told = json.loads(endpoints.read_text())
    switched = time.time()
    httpx.put(f"{told['task_service_url']}/lab/faults", json={"error_rate": 0.3}).raise_for_status()
    until(lambda: sum(one.failed and one.sent > switched for one in read(ledger)) > 10)
    said = ended(process)
    at_rest(synced)
    capsys.readouterr()
    asked = ["check", "--endpoints", str(endpoints), "--ledger", str(ledger), "--fault-from", str(switched)]
    assert main(asked) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    found = account(
        laravel_dsn=synced.laravel_dsn,
        task_service_dsn=synced.task_service_dsn,
        ledger=ledger,
        fault=(switched, time.time()),
    )
    assert found["failed requests"] == found["failed during the fault"] > 10, shown
    assert "failed during the fault" in shown
    assert found["side unknown"] == 0
    assert found["requests"] == found["answered by laravel"] + found["answered by task_service"] > 750
    assert min(found["answered by laravel"], found["answered by task_service"]) > 250
    assert found["longest write pause ms"] < 5000
    assert said["laravel acknowledged"] + said["task_service acknowledged"] == found["acknowledged"]
    requests = list(read(ledger))
    crossed = {one.verb for one in requests if one.task and (one.task >= 1_000_000_000) == (one.side == "laravel")}
    assert crossed >= {"read", "update", "complete", "delete", "tags", "group"}
    assert "restore" not in {one.verb for one in requests}
    assert synced.verify().details["passed"]


def followed_by(ledger):
    """Each request to a task with the next one to the same task."""
    tasks = {}
    for one in read(ledger):
        if one.task is not None:
            tasks.setdefault(one.task, []).append(one)
    return [pair for requests in tasks.values() for pair in pairwise(sorted(requests, key=lambda one: one.sent))]


def test_at_most_one_request_of_a_task_is_under_way_and_what_is_new_or_gone_is_left_alone(stage, endpoints, tmp_path):
    ledger = tmp_path / "ledger"
    process = start(endpoints, ledger, "--gateway-requests", "100")
    until(lambda: ledger.exists() and len(followed_by(ledger)) > 50)
    ended(process)
    found = followed_by(ledger)
    for earlier, later in found:
        assert earlier.answered <= later.sent
        assert earlier.verb != "delete"
        assert earlier.verb != "create" or later.sent >= earlier.answered + SYNC_SECONDS - 0.01


def test_no_answer_has_no_side_and_is_a_failure(stage, endpoints, tmp_path):
    ledger = tmp_path / "ledger"
    told = json.loads(endpoints.read_text())
    endpoints.write_text(json.dumps({**told, "gateway_url": "http://127.0.0.1:1"}))
    start(endpoints, ledger, "--gateway-requests", "40", "--seconds", "0.5").communicate(timeout=20)
    assert {(one.side, one.status, one.failed) for one in read(ledger)} == {("", 0, True)}


def test_the_gateway_is_instead_of_the_sides(endpoints, tmp_path, capsys):
    asked = ["--endpoints", str(endpoints), "--ledger", str(tmp_path / "ledger"), "--gateway-requests", "9"]
    with pytest.raises(SystemExit):
        main([*asked, "--reads", "1"])
    assert "--gateway-requests excludes" in capsys.readouterr().err
    assert not (tmp_path / "ledger").exists()
