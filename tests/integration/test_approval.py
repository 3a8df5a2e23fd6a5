"""Two people: the plan that is refused, who may approve it, and that what was approved is done once."""

from __future__ import annotations

import re
import socket
from functools import partial

import boto3
import psycopg
import pytest
from lab.gateway.aws_emulator import AwsEmulator
from task_migration.control import approval as module
from task_migration.control import approval_gate, journal
from task_migration.errors import Refused
from task_migration.external import caller_identity
from task_migration.external.aws import Aws
from task_migration.report import status
from task_migration.traffic.stage import Gateway

REGION = "ap-northeast-1"
COMMAND = "ansible-playbook phase-2.4-canary.yml -e weight=100"
ACTS = {"environment": "production", "traffic": {"from": 50, "to": 100}, "fenced": ["tasks", "tags"]}


@pytest.fixture
def dsn(laravel_database):
    return laravel_database().dsn


@pytest.fixture
def be(monkeypatch):
    """Who types what comes next."""

    def become(name):
        monkeypatch.setenv("LOGNAME", name)

    become("alice")
    return become


@pytest.fixture
def gate(dsn, be):
    asked = {
        "approvals_required": 1,
        "approval_max_age_hours": 4,
        "aws": Aws(REGION),
        "beside": {"verdict": "verdict: green"},
    }
    return partial(
        approval_gate.approval_gate, laravel_dsn=dsn, phase="2.4", command=COMMAND, **{"acts": ACTS, **asked}
    )


@pytest.fixture
def approve(dsn, be):
    return partial(module.approval, laravel_dsn=dsn, approval_max_age_hours=4, aws=Aws(REGION))


@pytest.fixture
def begin(dsn):
    def start(evidence=(), result="started"):
        journal.journal(laravel_dsn=dsn, phase="2.4", item="phase", result=result, evidence=dict(evidence))

    return start


def entries(dsn):
    with psycopg.connect(dsn) as session:
        if session.execute("SELECT to_regclass('task_migration.journal')").fetchone() == (None,):
            return []
        return session.execute("SELECT item, result, operator FROM task_migration.journal ORDER BY id").fetchall()


def digest(acts=ACTS):
    return module.digest("2.4", acts)[: module.SHORT]


def refused(gate, **more):
    with pytest.raises(Refused, match="a second person must approve the plan") as caught:
        gate(**more)
    return str(caught.value)


def test_none_is_asked_for_in_the_lab(gate, dsn):
    assert gate(approvals_required=0).details == {"digest": "", "evidence": {}}
    assert entries(dsn) == []


def test_check_mode_shows_the_plan_and_touches_nothing(gate, dsn):
    shown = gate(check=True)
    assert shown.message == f"plan {digest()} of phase 2.4: 0 of 1 approvals"
    assert "traffic, from: 50" in shown.lines
    assert shown.lines[-1] == "for information: verdict: green"
    assert entries(dsn) == []


def test_unapproved_it_is_refused_with_what_the_other_types_and_written_down_once(gate, dsn):
    assert f"ansible-playbook approve.yml -e plan={digest()}, then you type: {COMMAND}" in refused(gate)
    refused(gate)
    assert entries(dsn) == [("plan", "refused", "alice")]


def test_who_planned_it_cant_approve_it_from_another_machine_either(gate, approve, dsn, be, monkeypatch):
    refused(gate)
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    with pytest.raises(
        Refused, match=r"you cannot approve your own plan; measured: planned by alice@.*alice@elsewhere"
    ):
        approve(plan=digest())
    assert len(entries(dsn)) == 1


def test_approved_by_somebody_else_it_goes_on_once(gate, approve, begin, dsn, be):
    refused(gate)
    be("bob")
    assert approve(plan=digest(), check=True).changed
    assert len(entries(dsn)) == 1
    done = approve(plan=digest())
    assert (done.changed, done.details["command"]) == (True, COMMAND)
    assert done.lines == gate(check=True).lines
    assert not approve(plan=digest()).changed
    assert entries(dsn)[1:] == [("approval", "done", "bob")]
    assert "bob@" in refused(gate)  # who approved does not carry it out
    be("alice")
    evidence = gate().details["evidence"]
    assert evidence["approved_by"].startswith("bob@")
    begin(evidence)
    assert gate().details["evidence"] == evidence  # cut off, it goes on
    refused(gate, approval_max_age_hours=1e-9)  # but not for ever
    begin(result="failed")
    assert "0 of 1 approvals" in refused(gate)


def test_status_says_who_is_waited_for_and_what_to_type(gate, approve, dsn, be, tmp_path):
    def stand():
        told = status.status(
            laravel_dsn=dsn,
            task_service_dsn="",
            report_directory=str(tmp_path),
            gateway=Gateway(),
            aws=Aws(REGION),
            laravel_timezone="Asia/Tokyo",
        )
        return told.details["plans"], [line for line in told.lines if line.startswith("Plan ")]

    assert stand() == ([], [])
    refused(gate)
    ((plan_told,), (line,)) = stand()
    assert (plan_told["phase"], plan_told["approved_by"]) == ("2.4", [])
    assert re.fullmatch(rf"Plan {digest()} of phase 2\.4, by alice@\S+: waiting for an approval since .* UTC", line)
    be("bob")
    approve(plan=digest())
    ((plan_told,), (line,)) = stand()
    assert plan_told["approved_by"] == [f"bob@{socket.gethostname()}"]
    assert ": approved by bob@" in line


def test_another_plan_needs_another_approval(gate, approve, be):
    refused(gate)
    be("bob")
    approve(plan=digest())
    be("alice")
    other = {**ACTS, "traffic": {"from": 25, "to": 100}}
    refused(gate, acts=other)
    be("bob")
    with pytest.raises(Refused, match=f"no plan with this digest is waiting.*{digest(other)} of phase 2.4, by alice"):
        approve(plan=digest())


@pytest.mark.parametrize("typed", ["", "abc", "0" * 12, "%"])
def test_a_digest_that_is_none_is_refused(gate, approve, be, typed):
    refused(gate)
    be("bob")
    with pytest.raises(Refused, match="no plan with this digest is waiting"):
        approve(plan=typed)


def test_a_rollback_takes_plan_and_approval_back(gate, approve, dsn, be):
    refused(gate)
    be("bob")
    approve(plan=digest())
    journal.journal(laravel_dsn=dsn, phase="rollback-2.4", item="phase", result="started")
    with pytest.raises(Refused, match="no plan is waiting"):
        approve(plan=digest())
    be("alice")
    refused(gate)


def test_an_approval_grows_old(gate, approve, be):
    refused(gate)
    be("bob")
    approve(plan=digest())
    be("alice")
    assert "is 0 s old" in refused(gate, approval_max_age_hours=1e-9)
    gate()


def test_a_plan_that_was_altered_in_the_journal_is_not_approved(gate, approve, dsn, be):
    refused(gate)
    with psycopg.connect(dsn) as session:
        session.execute("ALTER TABLE task_migration.journal DISABLE TRIGGER only_grows")
        session.execute("UPDATE task_migration.journal SET evidence = jsonb_set(evidence, '{acts,fenced}', '[]')")
    be("bob")
    with pytest.raises(Refused, match="not the plan that was printed"):
        approve(plan=digest())


def test_what_the_report_held_stands_beside_and_changes_no_digest(gate, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("one")
    before = gate(check=True, report=str(report))
    report.write_text("another")
    after = gate(check=True, report=str(report))
    assert before.details == after.details
    assert before.lines != after.lines
    assert "No such file" in gate(check=True, report=str(tmp_path / "nothing")).lines[-2]


def test_where_there_is_aws_a_person_is_who_sts_names(gate, approve, be, monkeypatch):
    """By another role she is the same person; another session's name is another person."""
    roles = {"alice": "operator", "bob": "operator", "alice again": "approver"}

    def become(who):
        session = who.split()[0]
        arn = f"arn:aws:sts::123456789012:assumed-role/{roles[who]}/{session}@example.com"
        monkeypatch.setattr(caller_identity, "caller", lambda _: caller_identity.Caller("123456789012", arn))

    become("alice")
    refused(gate, aws_account_id="123456789012")
    become("alice again")
    with pytest.raises(Refused, match="you cannot approve your own plan"):
        approve(plan=digest(), aws_account_id="123456789012")
    become("bob")
    assert (
        approve(plan=digest(), aws_account_id="123456789012").details["approver"].endswith("operator/bob@example.com")
    )
    become("alice")
    gate(aws_account_id="123456789012")


def test_the_arn_is_that_of_the_credentials_in_use(monkeypatch):
    with AwsEmulator() as emulator:
        placed = {"region_name": REGION, "endpoint_url": emulator.url}
        keys = {"aws_access_key_id": "emulated", "aws_secret_access_key": "emulated"}
        client = boto3.client("sts", **placed, **keys)
        made = client.assume_role(RoleArn="arn:aws:iam::123456789012:role/operator", RoleSessionName="alice")
        given = made["Credentials"]
        session = boto3.session.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        monkeypatch.setattr("task_migration.external.aws._stand_in", lambda: session)
        who = caller_identity.who(Aws(REGION, emulator.url), "123456789012")
    assert who == "arn:aws:sts::123456789012:assumed-role/operator/alice"
    assert caller_identity.person(who) == "alice"
