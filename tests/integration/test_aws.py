"""What AWS answers, in the operator's words: one line, what was measured, and what to type."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lab.servers.postgres_server import free_port
from task_migration.errors import Failed, Refused
from task_migration.external import aws

NOBODY = (
    "User: arn:aws:sts::123456789012:assumed-role/observer/me is not authorized to perform: ssm:PutParameter on "
    "resource: arn:aws:ssm:ap-northeast-1:123456789012:parameter/app/T"
)


@contextmanager
def answering(status, code="", message=""):
    """An AWS that gives one answer to everything; ``status`` 0 closes the connection instead. Its address, and what it
    was asked with."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(dict(self.headers))
            self.rfile.read(int(self.headers["Content-Length"]))
            if status:
                body = json.dumps({"__type": code, "message": message}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def put(url, *, writes=True):
    ssm = aws.Aws("ap-northeast-1", url).client("ssm", attempts=1, read_timeout_seconds=1)
    with aws.translated_errors("change the parameter /app/T", writes=writes):
        ssm.put_parameter(Name="/app/T", Value="true", Overwrite=True)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "said"),
    [
        (400, "AccessDeniedException", NOBODY, Refused, r"may not change.*next: add ssm:PutParameter"),
        (400, "ExpiredTokenException", "expired", Refused, r"does not accept the credentials.*next: log in to AWS"),
        (400, "ParameterNotFound", "", aws.NotThere, r"next: correct the name in the inventory"),
        (400, "ThrottlingException", "Rate exceeded", Failed, r"limits the rate.*again later"),
        (400, "ValidationException", "no such value", Refused, r"AWS refused a request to change.*no such value"),
        (500, "InternalServerError", "oops", Failed, r"AWS had an internal error on a request to change the parameter"),
        (0, "", "", Failed, r"did not respond to a request to change the parameter /app/T; it may have been done"),
    ],
)  # fmt: skip
def test_what_aws_answers_is_one_line_that_says_what_to_do(status, code, message, kind, said):
    with answering(status, code, message) as (url, _), pytest.raises(kind, match=said) as raised:
        put(url)
    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)


def test_a_question_that_got_no_answer_changed_nothing():
    with answering(0) as (url, _), pytest.raises(Refused, match="did not respond"):
        put(url, writes=False)


def test_what_is_refused_after_something_was_changed_has_failed():
    with (
        answering(400, "AccessDeniedException", NOBODY) as (url, _),
        pytest.raises(Failed, match=r"; the half of it is done; measured.*next: add ssm:PutParameter"),
        aws.under_way("the half of it is done"),
    ):
        put(url)


def test_an_address_where_nothing_answers_is_refused():
    with pytest.raises(Refused, match="AWS cannot be reached to change the parameter"):
        put(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("url", ["http://aws.example.com", "http://10.0.0.7:5005", "ftp://127.0.0.2.example.com"])
def test_aws_elsewhere_is_spoken_to_over_tls_alone(url):
    with pytest.raises(Refused, match="AWS may only be called over TLS"):
        aws.Aws("ap-northeast-1", url).client("ssm")


def test_an_emulator_is_given_no_real_credentials_and_no_proxy_sees_it(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real-session")
    for proxy in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(proxy, f"http://127.0.0.1:{free_port()}")
    with answering(200) as (url, asked):
        put(url)
    assert "Credential=emulated/" in asked[0]["Authorization"]
    assert "AKIAREAL" not in str(asked)
    assert "real-session" not in str(asked)


def test_a_machine_without_credentials_is_told_to_log_in(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Refused, match=r"no AWS credentials.*next: log in to AWS"):
        put("")
    monkeypatch.setenv("AWS_PROFILE", "of-somebody-else")
    with pytest.raises(Refused, match=r"no AWS credentials.*of-somebody-else"):
        put("")


def test_what_the_environment_says_of_the_address_does_not_count(monkeypatch):
    with answering(200) as (stray, asked), answering(200) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", stray)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", stray)
        put(url)
        ours = aws.Aws("ap-northeast-1").client("ssm")
    assert not asked
    assert ours.meta.endpoint_url == "https://ssm.ap-northeast-1.amazonaws.com"
