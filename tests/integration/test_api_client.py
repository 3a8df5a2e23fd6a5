"""The sink that goes through the Task Service's API, against a server on a socket that can be told to misbehave."""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lab.servers.postgres_server import free_port
from task_migration.errors import Refused
from task_migration.sync.api_client import ApiClient, ApiResult

TOKEN, NEW_TOKEN = "first-token.of.the-service", "second-token.of.the-service"
TITLE = "a title that is nobody's business"
JSON = "application/json"


class Api:
    """The plan's controller over a dictionary. ``acts`` says what is done to a request instead: a function of the
    request's number (from 1), its method and its task's id that gives None or a function of the handler."""

    def __init__(self, context=None):
        self.tasks, self.requests, self.connections = {}, [], set()
        self.token, self.acts = TOKEN, lambda number, method, key: None
        self.busy = self.most_busy = 0
        self.over, self._lock = threading.Event(), threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda request, address: None
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def always(self, act):
        self.acts = lambda number, method, key: act

    def first(self, times, act):
        self.acts = lambda number, method, key: act if number <= times else None

    def only(self, key, act):
        self.acts = lambda number, method, asked: act if asked == key else None

    def _handler(api):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            api_ = api

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(body["id"], body)

            def do_DELETE(self):
                self._answer(int(self.path.rpartition("/")[2]), None)

            def do_GET(self):
                self._answer(0, None)

            def _answer(self, key, body):
                with api._lock:
                    api.requests.append((self.command, self.path, key, self.headers["Authorization"]))
                    api.connections.add(self.client_address)
                    number = len(api.requests)
                    api.busy += 1
                    api.most_busy = max(api.most_busy, api.busy)
                try:
                    act = api.acts(number, self.command, key)
                    if act is not None:
                        act(self)
                    elif self.headers["Authorization"] != f"Bearer {api.token}":
                        self.say(401, {"error": "token"})
                    elif body is not None:
                        api.tasks[key] = body
                        self.say(201, {"success": True, "data": {"id": key}})
                    elif api.tasks.pop(key, None) is None:
                        self.say(404, {"error": "no such task"})
                    else:
                        self.say(204)
                finally:
                    with api._lock:
                        api.busy -= 1

            def say(self, status, told=None, kind=JSON, **headers):
                body = b"" if told is None else told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if status != 204:
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        return Handler


def says(status, told=None, kind=JSON, **headers):
    return lambda handler: handler.say(status, told, kind, **headers)


def slow(handler):
    handler.api_.over.wait(60)
    handler.close_connection = True


def hangs_up(handler):
    handler.close_connection = True


def cut_short(handler):
    handler.send_response(201)
    handler.send_header("Content-Type", JSON)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"success": true, "data": {"id": 1}')
    handler.close_connection = True


def dripping(handler):
    handler.send_response(201)
    handler.send_header("Content-Type", JSON)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(1000):
        if handler.api_.over.wait(0.05):
            break
        handler.wfile.write(b" ")
    handler.close_connection = True


def no_http(handler):
    handler.wfile.write(f"{TITLE}\r\n\r\n".encode())
    handler.close_connection = True


def endless(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", JSON)
    handler.send_header("Content-Length", "100000000000")
    handler.end_headers()
    while not handler.api_.over.is_set():
        handler.wfile.write(b" " * 65536)


@pytest.fixture
def api():
    served = Api()
    yield served
    served.close()


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "service_token"
    file.touch(mode=0o600)
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def slept():
    return []


@pytest.fixture
def sink(api, token_file, slept):
    """``sink(attempts=4, ...)`` makes a sink for the server; closed after the test, all of its threads ended."""
    made = []

    def make(**options):
        arguments = {"base_url": api.url, "token_file": str(token_file), "sleep": slept.append, **options}
        made.append(ApiClient(**arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("api_sink")]


def a_task(key, **changes):
    at = datetime(2024, 3, 31, 12, 0, 5, tzinfo=UTC)
    return {
        "id": key,
        "user_id": "7d1c5f6e-0000-4000-8000-000000000001",
        "title": TITLE,
        "description": "zwei Zeilen\nund 🦜",
        "difficulty": 3,
        "status": "pending",
        "completed_at": None,
        "approved_at": None,
        "approved_by": None,
        "tags": ["Küche", "買い物"],
        "created_at": at,
        "updated_at": at,
        "group": {
            "group_id": UUID("7d1c5f6e-0000-4000-8000-0000000000aa"),
            "reward": 10,
            "requires_approval": True,
            "requires_image": False,
            "created_at": at,
            "updated_at": at,
        },
        "approval": None,
        "images": [
            {"id": 1, "s3_key": "k", "s3_url": "u", "uploaded_by": "s", "created_at": at, "updated_at": at},
        ],
        **changes,
    }


def tasks(*keys):
    return {key: a_task(key) for key in keys}


# What is carried


def test_a_task_is_posted_whole_and_its_acknowledgement_counts(api, sink):
    assert sink().send(tasks(17)) == ApiResult((17,), {}, (), "")
    assert api.requests == [("POST", "/api/tasks", 17, f"Bearer {TOKEN}")]
    expected = json.loads(
        json.dumps(a_task(17), default=lambda one: one.isoformat() if hasattr(one, "year") else str(one))
    )
    assert api.tasks == {17: expected}
    assert api.tasks[17]["created_at"] == "2024-03-31T12:00:05+00:00"


def test_carried_twice_is_carried_once(api, sink):
    carrying = sink()
    first, _ = carrying.send(tasks(1, 2)), carrying.send({2: None})
    there = dict(api.tasks)
    assert carrying.send({**tasks(1), 2: None}) == ApiResult((1, 2), {}, (), "") == first
    assert api.tasks == there


def test_a_changed_task_is_posted_again_under_its_id(api, sink):
    carrying = sink()
    carrying.send(tasks(1))
    carrying.send({1: a_task(1, status="completed", tags=[])})
    assert (api.tasks[1]["status"], api.tasks[1]["tags"]) == ("completed", [])
    assert {request[:2] for request in api.requests} == {("POST", "/api/tasks")}


def test_a_task_that_maps_no_more_is_deleted(api, sink):
    carrying = sink()
    carrying.send(tasks(1, 2))
    assert carrying.send({1: None}) == ApiResult((1,), {}, (), "")
    assert api.tasks.keys() == {2}
    assert api.requests[-1][:2] == ("DELETE", "/api/tasks/1")


@pytest.mark.parametrize(
    "act",
    [says(204), says(200, {"success": True}), says(404, {"error": "gone"}), says(410, {"error": "gone"})],
    ids=["204", "200", "404", "410"],
)
def test_a_task_that_is_gone_is_deleted(api, sink, act):
    api.always(act)
    assert sink().send({1: None}) == ApiResult((1,), {}, (), "")
    assert len(api.requests) == 1


@pytest.mark.parametrize("key", [17, 2**53 + 1])
def test_an_id_may_come_back_as_text(api, sink, key):
    api.always(says(201, {"success": True, "data": {"id": str(key)}}, kind="application/json; charset=utf-8"))
    assert sink().send(tasks(key)).done == (key,)


def test_the_address_may_have_a_path(api, sink):
    assert sink(base_url=f"{api.url}/prod/").send(tasks(1)).done == (1,)
    assert api.requests[0][1] == "/prod/api/tasks"


def test_nothing_to_carry_asks_nothing(api, sink):
    assert sink().send({}) == ApiResult((), {}, (), "")
    assert not api.requests


def test_requests_go_side_by_side_over_connections_that_are_kept(api, sink):
    def after_a_moment(handler):
        time.sleep(0.005)
        handler.say(201, {"success": True, "data": {"id": handler.api_.requests[-1][2]}})

    carrying = sink(max_parallel=3)
    assert carrying.send(tasks(*range(1, 41))).done == tuple(range(1, 41))
    assert len(api.connections) <= 3
    api.always(after_a_moment)
    carrying.send(tasks(*range(1, 10)))
    assert api.most_busy == 3


# An API that is unwell


@pytest.mark.parametrize(
    "act",
    [says(500), says(502, b"<html>", "text/html"), says(503), says(408), says(425), says(429), hangs_up, cut_short],
    ids=["500", "502", "503", "408", "425", "429", "hangs up", "cut short"],
)
def test_what_passes_is_tried_again_until_it_is_acknowledged(api, sink, slept, act):
    api.first(3, act)
    assert sink(attempts=4).send(tasks(1)) == ApiResult((1,), {}, (), "")
    assert len(api.requests) == 4
    assert len(slept) == 3


def test_a_slow_answer_is_tried_again(api, sink):
    api.first(1, slow)
    assert sink(timeout_seconds=0.2).send(tasks(1)) == ApiResult((1,), {}, (), "")


GARBAGE = {
    "a page with 200": says(200, b"<html>log in</html>", "text/html"),
    "JSON that calls itself a page": says(200, {"success": True, "data": {"id": 1}}, "text/html"),
    "a page that calls itself JSON": says(200, b"<html>"),
    "no body": says(201, b""),
    "success false": says(200, {"success": False, "data": {"id": 1}}),
    "success as text": says(200, {"success": "true", "data": {"id": 1}}),
    "no success": says(200, {"data": {"id": 1}}),
    "another task": says(201, {"success": True, "data": {"id": 2}}),
    "no task": says(201, {"success": True}),
    "a list": says(201, [{"success": True}]),
    "no text": says(201, b"\xff\xfe{}"),
    "deep": says(201, b"[" * 200_000),
    "false zip": says(201, b"no zip", Content_Encoding="gzip"),
    "accepted, not done": says(202, {"success": True, "data": {"id": 1}}),
    "no content": says(204),
    "not modified": says(304),
    "moved": says(302, Location="/elsewhere"),
    "moved, method kept": says(308, Location="/elsewhere"),
    "moved to nowhere": says(302, Location="http://[broken"),
    "a server without the route": says(404, b"Cannot POST /api/tasks", "text/html"),
    "no HTTP": no_http,
    "cut short": cut_short,
}


@pytest.mark.parametrize("act", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_acknowledgement_acknowledges_nothing(api, sink, act):
    api.always(act)
    carried = sink(attempts=2).send(tasks(1))
    assert (carried.done, carried.refused, carried.undone) == ((), {}, (1,))
    assert carried.problem.startswith("POST /api/tasks ")
    assert carried.problem.endswith(" in 2 tries (task 1)")
    assert len(api.requests) == 2
    assert {request[:2] for request in api.requests} == {("POST", "/api/tasks")}


@pytest.mark.parametrize(
    "act",
    [says(200, b"<html>", "text/html"), says(404, b"Cannot DELETE", "text/html"), says(200, {"success": False})],
    ids=["a page", "no such route", "success false"],
)
def test_a_delete_that_the_api_did_not_answer_itself_is_undone(api, sink, act):
    api.always(act)
    carried = sink(attempts=2).send({1: None})
    assert (carried.done, carried.refused, carried.undone) == ((), {}, (1,))
    assert carried.problem.startswith("DELETE /api/tasks/1 answered ")


@pytest.mark.parametrize("act", [slow, dripping], ids=["silent", "byte by byte"])
def test_nothing_is_waited_for_longer_than_the_timeout(api, sink, act):
    api.always(act)
    began = time.monotonic()
    carried = sink(attempts=2, timeout_seconds=0.15).send(tasks(1))
    assert time.monotonic() - began < 30
    assert carried.undone == (1,)


def test_an_endless_answer_is_not_read_to_its_end(api, sink):
    api.always(endless)
    began = time.monotonic()
    assert sink(attempts=1, timeout_seconds=60).send(tasks(1)).undone == (1,)
    assert time.monotonic() - began < 30


def test_a_server_that_is_not_there_leaves_everything_undone(sink):
    carried = sink(base_url=f"http://127.0.0.1:{free_port()}").send(tasks(1, 2))
    assert (carried.done, carried.refused, carried.undone) == ((), {}, (1, 2))
    assert "could not be sent" in carried.problem


def test_a_server_that_takes_no_connection_is_given_up_after_the_timeout(sink):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        carried = sink(base_url=url, attempts=1, timeout_seconds=0.2).send(tasks(1))
        for other in others:
            other.close()
    assert carried == ApiResult((), {}, (1,), "POST /api/tasks was not answered within 0.2 s in 1 try (task 1)", (1,))


def test_the_first_request_that_is_undone_stops_the_batch(api, sink):
    api.acts = lambda number, method, key: says(500) if key >= 3 else None
    carried = sink(max_parallel=1).send(tasks(1, 2, 3, 4, 5))
    assert carried == ApiResult((1, 2), {}, (3, 4, 5), "POST /api/tasks answered 500 in 4 tries (task 3)", (3,))
    assert [request[2] for request in api.requests] == [1, 2, 3, 3, 3, 3]


def test_side_by_side_each_task_is_in_exactly_one_place(api, sink):
    api.acts = lambda number, method, key: says(500) if number > 30 else says(422) if key % 7 == 0 else None
    carried = sink().send(tasks(*range(1, 101)))
    assert sorted([*carried.done, *carried.refused, *carried.undone]) == list(range(1, 101))
    assert set(carried.done) == api.tasks.keys()
    assert carried.undone
    assert len(api.requests) <= 30 + 4 * 4


def test_after_an_outage_the_same_batch_goes_through(api, sink):
    carrying = sink()
    api.always(says(503))
    assert carrying.send(tasks(1, 2)).undone == (1, 2)
    api.always(None)
    assert carrying.send(tasks(1, 2)) == ApiResult((1, 2), {}, (), "")


def test_pauses_grow_and_are_spread_over_their_whole_length(api, sink, slept):
    api.always(says(500))
    carrying = sink(attempts=9)
    pauses = []
    for _ in range(50):
        carrying.send(tasks(1))
        pauses.append(slept.copy())
        slept.clear()
    for place, longest in enumerate([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]):
        taken = [one[place] for one in pauses]
        assert 0 <= min(taken) < longest / 3
        assert longest / 2 < max(taken) <= longest


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [("7", 7, 7), ("3600", 30, 30), ("in a while", 0, 0.2), ("-5", 0, 0.2), ("", 0, 0.2)],
)
def test_the_api_may_ask_for_a_pause_of_up_to_half_a_minute(api, sink, slept, asked, low, high):
    api.first(1, says(429, Retry_After=asked))
    assert sink().send(tasks(1)).done == (1,)
    assert low <= slept[0] <= high


def test_the_api_may_name_the_time_to_come_back(api, sink, slept):
    api.first(1, says(429, Retry_After=format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)))
    assert sink().send(tasks(1)).done == (1,)
    assert 15 < slept[0] <= 20


def test_nothing_is_sent_any_more_when_a_batch_has_broken_off(api, token_file):
    class Stopped(Exception):
        pass

    def stop(seconds):
        raise Stopped

    api.acts = lambda number, method, key: says(500) if key == 1 else None
    carrying = ApiClient(base_url=api.url, token_file=str(token_file), max_parallel=2, sleep=stop)
    with pytest.raises(Stopped):
        carrying.send(tasks(*range(1, 500)))
    sent = len(api.requests)
    time.sleep(0.1)
    assert len(api.requests) == sent < 499
    carrying.close()


# Dead letters


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
def test_a_task_that_the_api_refuses_is_a_dead_letter_and_stops_nobody(api, sink, slept, status):
    api.only(2, says(status, {"error": TITLE}))
    assert sink().send(tasks(1, 2, 3)) == ApiResult((1, 3), {2: f"HTTP {status}"}, (), "")
    assert len(api.requests) == 3
    assert not slept


def test_a_refusal_by_a_proxy_for_the_tasks_size_is_a_dead_letter(api, sink):
    api.only(2, says(413, b"<html>", "text/html"))
    assert sink().send(tasks(1, 2)) == ApiResult((1,), {2: "HTTP 413"}, (), "")


def test_a_delete_may_be_refused(api, sink):
    api.always(says(409, {"error": "in use"}))
    assert sink().send({1: None}) == ApiResult((), {1: "HTTP 409"}, (), "")


# The token


@pytest.mark.parametrize("status", [401, 403])
def test_a_replaced_token_is_read_and_the_request_sent_again(api, sink, token_file, slept, status):
    carrying = sink(max_parallel=1)
    api.token = NEW_TOKEN
    api.acts = lambda number, method, key: says(status) if number == 1 else None
    token_file.write_text(NEW_TOKEN)
    assert carrying.send(tasks(1, 2)) == ApiResult((1, 2), {}, (), "")
    assert [request[3] for request in api.requests] == [f"Bearer {one}" for one in (TOKEN, NEW_TOKEN, NEW_TOKEN)]
    assert not slept


def test_a_token_replaced_in_the_middle_of_a_batch_loses_nothing(api, sink, token_file):
    def rotate(number, method, key):
        if number == 20:
            token_file.write_text(NEW_TOKEN)
            api.token = NEW_TOKEN

    api.acts = rotate
    assert sink().send(tasks(*range(1, 51))).done == tuple(range(1, 51))


@pytest.mark.parametrize("status", [401, 403])
def test_an_expired_token_makes_no_dead_letters(api, sink, token_file, status):
    api.acts = lambda number, method, key: says(status) if number > 1 else None
    carried = sink(max_parallel=1).send({**tasks(1, 2, 3), 4: None})
    assert (carried.done, carried.refused, carried.undone) == ((1,), {}, (2, 3, 4))
    assert carried.problem == (
        f"the service token is not accepted: POST /api/tasks answered {status} (task 2); {token_file} was read again"
    )
    assert len(api.requests) == 3


def test_a_token_file_that_is_gone_leaves_everything_undone(api, sink, token_file):
    carrying = sink()
    api.token = NEW_TOKEN
    token_file.unlink()
    carried = carrying.send(tasks(1, 2))
    assert (carried.done, carried.refused, carried.undone) == ((), {}, (1, 2))
    assert carried.problem.startswith("the service token is not accepted")
    assert "No such file" in carried.problem


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_token_that_others_can_read_is_refused(sink, token_file, mode):
    token_file.chmod(mode)
    with pytest.raises(Refused, match=f"chmod 600 {token_file}"):
        sink()


@pytest.mark.parametrize("held", ["", "\n", f"{TOKEN}\n{TOKEN}", f"Bearer {TOKEN}", f"{TOKEN}\r\nX-More: 1", "töken"])
def test_a_file_that_holds_no_token_is_refused_without_showing_it(sink, token_file, held):
    token_file.write_text(held)
    with pytest.raises(Refused) as refused:
        sink()
    assert str(token_file) in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_a_token_file_that_is_not_there_is_refused(sink, tmp_path):
    with pytest.raises(Refused, match="chmod 600"):
        sink(token_file=str(tmp_path / "nothing"))


# The way there


@pytest.mark.parametrize("url", ["http://tasks.example.com", "http://192.0.2.1:8080", "http://localhost.example.com"])
def test_off_this_machine_without_tls_is_refused(sink, url):
    with pytest.raises(Refused, match="https"):
        sink(base_url=url)


@pytest.mark.parametrize(
    "url",
    ["", "tasks.example.com", "ftp://x", "https://", "https://u:hidden@x", "https://x/?key=hidden", "https://x:hidden"],
)
def test_an_address_that_is_none_is_refused_without_showing_what_it_hides(sink, url):
    with pytest.raises(Refused) as refused:
        sink(base_url=url)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://x.example.com/v1"]
)
def test_loopback_and_tls_are_allowed(sink, url):
    sink(base_url=url)


def certificate(folder, *addresses):
    """A certificate of its own for these addresses; its file and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the Task Service of a test")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(one)) for one in addresses])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / "certificate.pem", folder / "key.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return str(file), context


@pytest.mark.parametrize(
    ("address", "known", "accepted"),
    [("127.0.0.1", True, True), ("127.0.0.1", False, False), ("192.0.2.1", True, False)],
    ids=["its CA is known", "its CA is not known", "for another address"],
)
def test_a_certificate_is_believed_by_its_ca_and_its_name(sink, tmp_path, address, known, accepted):
    file, context = certificate(tmp_path, address)
    served = Api(context)
    try:
        carried = sink(base_url=served.url, ca_file=file if known else "", attempts=1).send(tasks(1))
    finally:
        served.close()
    assert (carried.done == (1,)) is accepted
    assert ("certificate verify failed" in carried.problem.lower()) is not accepted
    assert len(served.requests) == accepted


@pytest.mark.parametrize("held", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_refused(sink, tmp_path, held):
    file = tmp_path / "ca.pem"
    if held is not None:
        file.write_text(held)
    with pytest.raises(Refused, match="PEM"):
        sink(ca_file=str(file))


def test_the_environments_proxy_and_netrc_are_not_used(api, sink, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.touch(mode=0o600)
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert sink().send(tasks(1)).done == (1,)


# What is said


@pytest.mark.parametrize(
    "act",
    [
        says(500, {"error": TITLE, "token": TOKEN}),
        says(200, {"success": False, "title": TITLE, "token": TOKEN}),
        says(422, {"error": TITLE, "token": TOKEN}),
        says(401, {"error": TITLE, "token": TOKEN}),
        no_http,
    ],
    ids=["500", "garbage", "422", "401", "no HTTP"],
)
def test_neither_a_token_nor_a_tasks_content_gets_into_a_message_or_a_log(api, sink, act, caplog):
    caplog.set_level(logging.DEBUG)
    api.always(act)
    carried = sink(attempts=2).send({**tasks(1), 2: None})
    for text in (TITLE, TOKEN):
        assert text not in repr(carried)
        assert text not in caplog.text
    assert "\n" not in carried.problem
