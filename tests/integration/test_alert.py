"""An alert reaches everybody whom it can reach, says whom it could not, and holds nothing up."""

from __future__ import annotations

import json
import socket
import threading
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from lab.gateway.aws_emulator import AwsEmulator
from lab.servers.postgres_server import free_port
from task_migration.errors import Failed
from task_migration.external import alert as module
from task_migration.external.alert import alert, legal
from task_migration.external.aws import Aws

REGION = "ap-northeast-1"
NUMBERS = count(1)
NOTE = ["sh", "-c", 'printf "%s|%s|%s" "$1" "$ALERT_SUBJECT" "$(cat)" > "$2"', "note", "{subject}"]


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


@pytest.fixture
def topic(emulator):
    """A topic whose messages go to a queue: its ARN, and a function that takes them off."""
    sns, sqs = (Aws(REGION, emulator.url).client(service, attempts=1) for service in ("sns", "sqs"))
    name = f"alerts-{next(NUMBERS)}"
    arn = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:{name}")

    def received():
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [(body["Subject"], body["Message"]) for body in (json.loads(one["Body"]) for one in messages)]

    return arn, received


@pytest.fixture
def send(emulator):
    return partial(alert, aws=Aws(REGION, emulator.url))


def test_the_topic_and_the_command_are_both_told(send, topic, tmp_path):
    arn, received = topic
    file = tmp_path / "told"
    message = "error rate 7 %\nallowed 5 %"
    sent = send(subject="Rolled back", message=f"{message}\n", alert_topic_arn=arn, alert_command=[*NOTE, str(file)])
    assert sent.details == {"sent": [arn, "the command sh"]}
    assert not sent.changed, "an alert changes nothing of what is migrated"
    assert received() == [("Rolled back", message)]
    assert file.read_text() == f"Rolled back|Rolled back|{message}"


def test_check_mode_says_whom_and_tells_nobody(send, topic, tmp_path):
    arn, received = topic
    file = tmp_path / "told"
    said = send(subject="s", message="m", alert_topic_arn=arn, alert_command=[*NOTE, str(file)], check=True)
    assert said.message == f"would send an alert to {arn} and the command sh: s"
    assert not received()
    assert not file.exists()


def test_nobody_to_tell_is_said(send):
    sent = send(subject="Rolled back", message="m")
    assert sent.details == {"sent": []}
    assert (
        "no alert was sent, alert_topic_arn and alert_command are empty in the inventory: Rolled back" in sent.message
    )


def test_a_topic_that_is_not_there_does_not_keep_the_command_from_being_run(send, topic, tmp_path):
    file = tmp_path / "told"
    with pytest.raises(Failed, match=r"could not be sent to arn:aws:sns:.*:none: Rolled back") as failed:
        send(
            subject="Rolled back",
            message="m",
            alert_topic_arn=f"{topic[0].rpartition(':')[0]}:none",
            alert_command=[*NOTE, str(file)],
        )
    assert file.read_text() == "Rolled back|Rolled back|m"
    assert failed.value.measured.endswith("; sent to: the command sh")
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("command", "said"),
    [(["sh", "-c", "exit 7"], "exit code 7"), (["no-such-program"], "FileNotFoundError"), (["x\0"], "ValueError")],
)
def test_a_command_that_fails_does_not_keep_the_topic_from_being_told(send, topic, command, said):
    arn, received = topic
    with pytest.raises(Failed, match="could not be sent to the command") as failed:
        send(subject="s", message="m", alert_topic_arn=arn, alert_command=command)
    assert said in failed.value.measured
    assert failed.value.measured.endswith(f"; sent to: {arn}")
    assert received() == [("s", "m")]


def test_ways_that_hang_cost_their_time_limit_once_and_leave_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never answers
        began = time.monotonic()
        with pytest.raises(Failed, match=r"could not be sent to arn.* and the command sh") as failed:
            alert(
                subject="s",
                message="m",
                alert_topic_arn="arn:aws:sns:ap-northeast-1:123456789012:alerts",
                aws=Aws(REGION, f"http://127.0.0.1:{silent.getsockname()[1]}"),
                alert_command=["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; wait"],
            )
        assert time.monotonic() - began < 2 * 3, "one after the other they would take that long"
    assert failed.value.measured.endswith("sent to: none")
    child = int((tmp_path / "child").read_text())
    state = Path("/proc", str(child), "stat")
    deadline = time.monotonic() + 2
    while state.exists() and ") Z" not in state.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not state.exists() or ") Z" in state.read_text()


def test_an_aws_that_can_not_be_reached_is_one_line_and_soon(monkeypatch):
    began = time.monotonic()
    with pytest.raises(Failed, match=r"AWS cannot be reached to publish the alert: .*; sent to: none") as failed:
        alert(
            subject="s",
            message="m",
            alert_topic_arn="arn:aws:sns:ap-northeast-1:123456789012:alerts",
            aws=Aws(REGION, f"http://127.0.0.1:{free_port()}"),
        )
    assert time.monotonic() - began < module.TIMEOUT_SECONDS
    assert "\n" not in str(failed.value)


def test_the_worst_that_sns_can_do_fits_into_the_time_limit():
    """Two tries of connecting and reading, and standard mode's pause of at most one second between them."""
    assert 2 * (module.SNS_CONNECT_SECONDS + module.SNS_READ_SECONDS) + 1 <= module.TIMEOUT_SECONDS


@pytest.mark.parametrize(
    ("subject", "becomes"),
    [
        ("Rolled back", "Rolled back"),
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("Café", "Cafe"),
        ("タスク: 7 %", "???: 7 %"),
        ("--option", "option"),
        ("", "Task migration"),
        (" \n", "Task migration"),
        ("x" * 500, "x" * 96 + "..."),
        ("a\x00b\x7f", "a?b?"),
    ],
)
def test_every_subject_becomes_one_that_sns_takes(subject, becomes):
    assert legal(subject) == becomes
    assert len(becomes) < 100
    assert becomes.isascii()
    assert becomes.isprintable()


def test_a_message_that_is_too_long_is_cut_between_characters(send, topic, tmp_path):
    file = tmp_path / "told"
    send(subject="s", message="あ" * 100_000, alert_topic_arn=topic[0], alert_command=["sh", "-c", f"cat > {file}"])
    told = file.read_text()
    assert told == "あ" * len(told)
    assert len(told.encode()) <= module.LONGEST_MESSAGE_BYTES


def test_an_alert_leaves_no_thread_behind(send, topic):
    before = {thread.name for thread in threading.enumerate() if thread.name.startswith("alert ")}
    send(subject="s", message="m", alert_topic_arn=topic[0], alert_command=["true"])
    assert {thread.name for thread in threading.enumerate() if thread.name.startswith("alert ")} == before
