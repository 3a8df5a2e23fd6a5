"""The lab's gateway: each request goes where the stage says, whole, once, and is told in the access log."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import httpx
import pytest
from lab.gateway import rest_api
from lab.gateway.aws_emulator import AwsEmulator
from lab.gateway.gateway import ROUTE, AccessLog, LabGateway
from lab.gateway.stage_settings import Integration, Resource, StageSettings
from lab.locations import AWS_REGION, REST_API_ID, STAGE, VARIABLE
from lab.servers.postgres_server import free_port
from lab.servers.processes import is_listening
from serving import served
from task_migration.external.aws import Aws

STAGE_OF = {"restApiId": REST_API_ID, "stageName": STAGE}
CANARY = "/canarySettings"


class Echo:
    """An upstream that tells what it got; ``waits`` seconds before, if the query says so."""

    def __init__(self, name):
        self.name, self.got = name, []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        told = {
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "headers": headers,
            "body": body.decode("latin-1"),
        }
        self.got.append(told)
        if told["query"].startswith("wait="):
            await asyncio.sleep(float(told["query"].removeprefix("wait=")))
        answer = json.dumps(told).encode()
        of_answer = [(b"x-served-by", self.name.encode()), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        status = int(dict(headers).get("x-status", 200))
        await send({"type": "http.response.start", "status": status, "headers": of_answer})
        await send({"type": "http.response.body", "body": b"" if status == 204 else answer})


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def client(emulator):
    return Aws(AWS_REGION, emulator.url).client("apigateway")


@pytest.fixture(scope="module")
def sides():
    """Both upstreams, and where they are."""
    echoes = {"laravel": Echo("laravel"), "task_service": Echo("task_service")}
    with served(echoes["laravel"]) as laravel, served(echoes["task_service"]) as task_service:
        authorities = {
            name: url.removeprefix("http://") for name, url in zip(echoes, (laravel, task_service), strict=True)
        }
        yield echoes, authorities


@pytest.fixture
def stage(emulator, client, sides):
    """A stage as lab-up makes it."""
    _, at = sides
    rest_api.make(emulator.url, at["laravel"], at["task_service"])
    yield
    client.delete_rest_api(restApiId=REST_API_ID)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "access.log"


@contextmanager
def gateway_on(emulator_url, log, propagation_seconds=0.0):
    def client():
        return Aws(AWS_REGION, emulator_url).client("apigateway", attempts=1)

    application = LabGateway(StageSettings(client, REST_API_ID, STAGE, propagation_seconds), AccessLog(log))
    with served(application) as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as http:
        until(lambda: http.get(ROUTE).status_code == 200)
        yield http


@pytest.fixture
def gateway(emulator, stage, log):
    with gateway_on(emulator.url, log) as http:
        yield http


def until(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def patch(client, *operations):
    client.update_stage(
        **STAGE_OF, patchOperations=[dict(zip(("op", "path", "value"), one, strict=True)) for one in operations]
    )


def canary(client, sides, percent, http=None):
    """Sets it, and waits until it is in force."""
    patch(
        client,
        ("replace", f"{CANARY}/percentTraffic", f"{percent:.1f}"),
        ("replace", f"{CANARY}/stageVariableOverrides/{VARIABLE}", sides[1]["task_service"]),
    )
    if http is not None:
        until(lambda: (told := http.get(ROUTE).json())["percent"] == percent and told["overrides"])


def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def served_by(http, count, path="/api/tasks"):
    return [http.get(path).headers["x-served-by"] for _ in range(count)]


# Where a request goes


def test_without_a_canary_every_request_goes_to_laravel(gateway, sides):
    assert set(served_by(gateway, 20)) == {"laravel"}
    assert gateway.get(ROUTE).json()["variables"] == {VARIABLE: sides[1]["laravel"]}


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/7/complete"])
def test_a_canary_takes_its_share_at_random_and_no_client_sticks_to_a_side(gateway, client, sides, path):
    canary(client, sides, 25, gateway)
    sequence = served_by(gateway, 400, path)
    assert 60 <= sequence.count("task_service") <= 145  # 100, and five times its standard deviation
    assert sum(one != other for one, other in pairwise(sequence)) > 50


def test_all_or_nothing_is_exactly_that(gateway, client, sides):
    canary(client, sides, 100, gateway)
    assert set(served_by(gateway, 100)) == {"task_service"}
    canary(client, sides, 0, gateway)
    assert set(served_by(gateway, 100)) == {"laravel"}
    patch(client, ("replace", f"/variables/{VARIABLE}", sides[1]["task_service"]))
    until(lambda: gateway.get(ROUTE).json()["variables"][VARIABLE] == sides[1]["task_service"])
    assert set(served_by(gateway, 20)) == {"task_service"}


def test_a_setting_is_in_force_soon_and_not_before_its_propagation(emulator, stage, client, sides, log):
    with gateway_on(emulator.url, log, propagation_seconds=1.0) as http:
        set_at = time.time()
        canary(client, sides, 100)
        assert http.get("/api/tasks").headers["x-served-by"] == "laravel"
        until(lambda: http.get(ROUTE).json()["percent"] == 100)
        assert 1.0 <= http.get(ROUTE).json()["since"] - set_at < 3
        assert http.get("/api/tasks").headers["x-served-by"] == "task_service"


def test_what_is_under_way_ends_on_its_old_side(gateway, client, sides):
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(gateway.get, "/api/tasks?wait=1")
        until(lambda: any(one["query"] == "wait=1" for one in sides[0]["laravel"].got))
        canary(client, sides, 100, gateway)
        assert not answer.done()
        assert answer.result().headers["x-served-by"] == "laravel"


def test_without_aws_the_last_settings_stay_in_force(stage, client, sides, log):
    with AwsEmulator() as another, gateway_on(another.url, log) as http:
        canary(client, sides, 100, http)
        another.stop()
        seen = http.get(ROUTE).json()["asked"]
        time.sleep(0.7)
        assert http.get(ROUTE).json()["asked"] == pytest.approx(seen, abs=0.3)
        assert set(served_by(http, 10)) == {"task_service"}


# What arrives


def test_request_and_answer_pass_as_they_are(gateway, client, sides):
    headers = [("X-User", "ü".encode()), ("Accept", "a"), ("Accept", "b"), ("X-Status", "201"), ("Expect", "nothing")]
    answer = gateway.put("/api/tasks/%C3%BC/a%2Fb?q=%20&q=2", content="ü" * 70_000, headers=headers)
    told = answer.json()
    assert (told["method"], told["path"], told["query"]) == ("PUT", "/api/tasks/%C3%BC/a%2Fb", "q=%20&q=2")
    assert told["body"].encode("latin-1") == ("ü" * 70_000).encode()
    assert [value for name, value in told["headers"] if name == "accept"] == ["a", "b"]
    assert ["host", sides[1]["laravel"]] in told["headers"]
    assert ["content-length", "140000"] in told["headers"]
    assert answer.status_code == 201
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert len(answer.headers.get_list("date")) == 1


def test_a_body_in_pieces_and_answers_without_a_body_arrive_too(gateway):
    told = gateway.post("/api/tasks", content=iter([b"in ", b"pieces"])).json()
    assert told["body"] == "in pieces"
    for _ in range(2):
        assert gateway.delete("/api/tasks/7", headers={"X-Status": "204"}).status_code == 204
        assert gateway.head("/api/tasks").status_code == 200


@pytest.mark.parametrize("path", ["/", "/api", "/api/users", "/api/tasksx", "/API/tasks"])
def test_a_path_that_is_no_resource_is_refused_as_aws_does(gateway, path):
    answer = gateway.get(path)
    assert (answer.status_code, answer.json()) == (403, {"message": "Missing Authentication Token"})


def test_a_resource_is_chosen_by_how_exact_it_is():
    anything = {"ANY": Integration("http://x")}
    resources = [Resource(path, anything) for path in ("/a/{proxy+}", "/a/{id}", "/a/b", "/a/{id}/c")]
    ranked = sorted(resources, key=lambda one: one.rank)

    def first(path):
        return next((one.path, found) for one in ranked if (found := one.match(path)) is not None)

    assert first("/a/b") == ("/a/b", {})
    assert first("/a/7") == ("/a/{id}", {"method.request.path.id": "7"})
    assert first("/a/7/c") == ("/a/{id}/c", {"method.request.path.id": "7"})
    assert first("/a/7/d") == ("/a/{proxy+}", {"method.request.path.proxy": "7/d"})


# When an upstream fails


class Sullen:
    """A server that answers so many requests on a connection, and ends it without a word, perhaps after another."""

    def __init__(self, after, reads_more):
        self._after, self._reads_more, self.requests = after, reads_more, []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.authority = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            for _ in range(self._after):
                self.requests.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            if self._reads_more:
                self.requests.append(connection.recv(65536))

    def close(self):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def send_to(authority, client, gateway):
    patch(client, ("replace", f"/variables/{VARIABLE}", authority))
    until(lambda: gateway.get(ROUTE).json()["variables"][VARIABLE] == authority)


def test_no_upstream_is_a_502_and_one_that_takes_too_long_a_504(gateway, client, sides, log):
    send_to(f"127.0.0.1:{free_port()}", client, gateway)
    answer = gateway.post("/api/tasks", json={})
    assert (answer.status_code, answer.json()) == (502, {"message": "Bad Gateway"})
    resources = {one["path"]: one["id"] for one in client.get_resources(restApiId=REST_API_ID)["items"]}
    client.put_integration(
        restApiId=REST_API_ID,
        resourceId=resources["/api/tasks"],
        httpMethod="ANY",
        type="HTTP_PROXY",
        integrationHttpMethod="ANY",
        uri=f"http://{sides[1]['laravel']}/api/tasks",
        timeoutInMillis=100,
    )
    deployment = client.create_deployment(restApiId=REST_API_ID)["id"]
    patch(client, ("replace", "/deploymentId", deployment))
    until(lambda: gateway.get(ROUTE).json()["deployment"] == deployment)
    answer = gateway.get("/api/tasks?wait=0.5")
    assert (answer.status_code, answer.json()) == (504, {"message": "Endpoint request timed out"})
    until(lambda: len(lines(log)) == 2)
    assert [(one["status"], one["intStatus"], one["err"]) for one in lines(log)] == [
        (502, None, "refused"),
        (504, None, "timeout"),
    ]


def test_a_variable_that_is_not_set_is_an_error_of_the_gateways_own(gateway, client):
    client.update_stage(**STAGE_OF, patchOperations=[{"op": "remove", "path": f"/variables/{VARIABLE}"}])
    until(lambda: not gateway.get(ROUTE).json()["variables"])
    assert gateway.get("/api/tasks").status_code == 500


def test_a_kept_connection_that_was_closed_meanwhile_loses_no_write_and_doubles_none(gateway, client):
    server = Sullen(after=1, reads_more=False)
    send_to(server.authority, client, gateway)
    for number in range(50):
        assert gateway.post("/api/tasks", json={"number": number}).text == "ok"
        time.sleep(0.002)
    sent = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
    assert sent == [b'{"number":%d}' % number for number in range(50)]
    server.close()


@pytest.mark.parametrize(("method", "sent"), [("POST", 1), ("PUT", 1), ("DELETE", 1), ("GET", 2)])
def test_a_write_that_was_sent_is_never_sent_again_and_a_read_once(gateway, client, method, sent):
    server = Sullen(after=1, reads_more=True)
    send_to(server.authority, client, gateway)
    assert gateway.get("/api/tasks").text == "ok"
    answer = gateway.request(method, "/api/tasks/1")
    assert answer.status_code == (502 if sent == 1 else 200)
    assert len(server.requests) == 1 + sent
    server.close()


# The access log, and the process


def test_the_access_log_tells_each_request_within_a_tenth_of_a_second(gateway, client, sides, log):
    canary(client, sides, 100, gateway)
    before = time.time() * 1000
    gateway.post("/api/tasks/7/complete?x=1", headers={"X-Status": "404"})
    gateway.get("/elsewhere")
    time.sleep(0.1)
    told, refused = lines(log)
    assert before <= told.pop("time") <= time.time() * 1000
    assert len(told.pop("requestId")) == 36
    assert 0 < told.pop("intLatency") <= told.pop("latency") < 1000
    assert told == {
        "isCanary": True,
        "path": "/api/tasks/{proxy+}",
        "method": "POST",
        "status": 404,
        "intStatus": 404,
        "upstream": sides[1]["task_service"],
        "err": "",
    }
    assert (refused["path"], refused["status"], refused["upstream"]) == (None, 403, None)


def test_a_line_that_a_kill_left_torn_does_not_swallow_the_next(tmp_path):
    file = tmp_path / "log"
    file.write_text('{"whole":1}\n{"torn":')
    log = AccessLog(file)
    log.add({"next": 1})
    log.close()
    assert file.read_text().splitlines() == ['{"whole":1}', '{"torn":', '{"next":1}']


def test_sigterm_lets_what_is_under_way_end(emulator, stage, sides, log):
    port = free_port()
    words = ["--port", str(port), "--aws-endpoint-url", emulator.url, "--rest-api", REST_API_ID, "--stage", STAGE]
    process = subprocess.Popen([sys.executable, "-m", "lab.gateway.gateway", *words, "--access-log", str(log)])
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_listening(port) and httpx.get(url + ROUTE, trust_env=False).status_code == 200, 20)
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(httpx.get, f"{url}/api/tasks?wait=0.6", trust_env=False)
            until(lambda: any(one["query"] == "wait=0.6" for one in sides[0]["laravel"].got))
            process.send_signal(signal.SIGTERM)
            assert answer.result().status_code == 200
        assert process.wait(5) in (0, -signal.SIGTERM)
        assert lines(log)[-1]["status"] == 200
    finally:
        process.kill()
        process.wait()
