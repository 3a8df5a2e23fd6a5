"""Phase 2.4 on a real lab with users at its gateway: one journey, each test goes on where the one before it ended."""

from __future__ import annotations

import os
import re
import signal
import time

import httpx
import psycopg
import pytest
from task_migration.runtime import health_endpoint

from .conftest import FORCED, QUICK

BACK, WATCH = "rollback-2.4.yml", "watch.yml"
HOME, PROMOTED = ("laravel", None), ("task_service", None)
OFFSET = 1_000_000_000


def at(lab, weight):
    """Where traffic is when so much of it goes to the Task Service; it is brought there if an earlier test failed."""
    there = {0: HOME, 100: PROMOTED}.get(weight, ("laravel", float(weight)))
    if lab.traffic() != there:
        lab.fail(0)
        if lab.traffic() != HOME:
            lab.must(BACK, *QUICK)
        if weight:
            lab.must(*lab.canary(weight, *FORCED))
    assert lab.traffic() == there
    return there


def one(dsn, query, *parameters):
    with psycopg.connect(dsn, autocommit=True) as session:
        return session.execute(query, parameters).fetchone()[0]


def until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_home(in_force, endpoints):
    return endpoints["laravel_upstream"] in in_force["variables"].values() and not in_force["percent"]


@pytest.fixture
def refused(visited):
    """Types a command that must be refused in one line, and touch nothing; that line."""

    def go(*words):
        before = visited.untouched()
        ran = visited.type(*words)
        assert ran.code != 0, ran.said
        assert len(ran.errors) == 1, ran.said
        assert "Refused, nothing was changed" in ran.errors[0]
        assert visited.untouched() == before
        return ran.errors[0]

    return go


def test_check_says_what_would_happen_and_touches_nothing(visited):
    at(visited, 0)
    before = visited.untouched(), visited.reports()
    ran = visited.must(*visited.canary(5), "--check")
    assert (visited.untouched(), visited.reports()) == before
    assert "traffic: would change 0 % -> 5 % to the Task Service" in ran.said
    assert "would judge 5 % every 1 s" in ran.said


def test_a_red_gate_touches_nothing(visited, refused):
    at(visited, 0)
    visited.fail(1)
    assert "the canary gate failed at 0 %" in refused(*visited.canary(5))
    visited.fail(0)


def test_5_percent_move_with_figures_and_again_nothing_changes(visited):
    at(visited, 0)
    ran = visited.must(*visited.canary(5))
    assert visited.traffic() == ("laravel", 5.0)
    assert re.search(r"baking at 5 %: .* hits \(", ran.said)
    assert "Next: ansible-playbook phase-2.4-canary.yml -e weight=25" in ran.said
    assert health_endpoint.ask(visited.health_ports[1])["state"] == "running"
    assert visited.must(*visited.canary(5)).changed == 0


@pytest.mark.parametrize(
    ("weight", "words", "said"),
    [
        (50, (), "the weight 50 is out of order; measured: 5 % goes to the Task Service; allowed: 0 or 25"),
        (50, ("-e", "force=true"), "the weight 50 is out of order, and was forced without a reason"),
        (
            25,
            ("-e", "canary_confidence_percent=99.999", "-e", "canary_interval_seconds=30"),
            "the canary gate is inconclusive at 5 %",
        ),
    ],
)
def test_a_weight_out_of_order_or_unproven_touches_nothing(visited, refused, weight, words, said):
    at(visited, 5)
    assert said in refused(*visited.canary(weight), *words)


def test_a_stale_verdict_touches_nothing(visited, refused):
    at(visited, 5)
    _age(visited, hours=25)
    try:
        line = refused(*visited.canary(25))
    finally:
        _age(visited, hours=-25)
    assert "old; allowed: 24 h" in line
    assert line.endswith("next: ansible-playbook phase-2.2-verify.yml")


def test_errors_while_it_bakes_take_it_back_to_the_weight_before(visited):
    before = at(visited, 5)
    longer = ("-e", "canary_bake_seconds=20", "-e", "canary_hold_seconds=20")
    ran = visited.listen(*visited.canary(25, *longer), at="baking at 25 %", act=lambda: visited.fail(0.5))
    visited.fail(0)
    assert ran.code != 0
    assert "Phase 2.4 stopped at 25 %: Failed: the canary failed at 25 %" in ran.errors[-1]
    assert "error rate" in ran.errors[-1]
    assert "5 % of the traffic goes to the Task Service" in ran.errors[-1]
    assert visited.traffic() == before


def test_without_figures_it_holds_and_then_goes_back(visited):
    before = at(visited, 5)
    metrics = visited.world().processes(visited.endpoints())["gateway_metrics"]
    # What it measured at 5 % is not what this is about.
    lenient = ("-e", "canary_error_rate_percent=50")
    held = ("-e", "canary_bake_seconds=6", "-e", "canary_hold_seconds=2")
    ran = visited.listen(
        *visited.canary(25, *held, *lenient), at="baking at 25 %", act=lambda: os.kill(metrics.pid(), signal.SIGKILL)
    )
    visited.must("lab-up.yml")
    assert ran.code != 0
    assert "the canary is inconclusive at 25 %" in ran.errors[-1]
    assert "5 % of the traffic goes to the Task Service" in ran.errors[-1]
    assert visited.traffic() == before


def test_weight_0_is_the_way_back(visited):
    at(visited, 5)
    visited.must(*visited.canary(0))
    assert visited.traffic() == HOME
    assert visited.entries()[-1] == ("rollback-2.4", "phase", "done")


def test_a_weight_that_is_forced_is_written_down_with_the_reason(visited):
    at(visited, 0)
    at(visited, 25)
    newest = "SELECT evidence FROM task_migration.journal WHERE phase = '2.4' AND result = 'started' ORDER BY id DESC"
    ((evidence,), *_) = visited.rows(newest)
    assert evidence == {"from": 0, "weight": 25, "forced": True, "reason": "a test"}


def test_the_watch_brings_everybody_home_within_a_minute_of_the_breach(visited):
    at(visited, 25)
    began = []

    def fail():
        began.append(time.time())
        visited.fail(0.5)

    # The dual write's own bound is out of the way: the fault fails half of its probes too.
    words = (WATCH, *QUICK, "-e", "watch_interval_seconds=2", "-e", "trigger_error_rate_percent=100")
    ran = visited.listen(*words, at="watching: ", act=fail)
    visited.fail(0)
    assert ran.code != 0
    assert "The canary was rolled back: all traffic goes to Laravel" in ran.errors[-1]
    assert "canary: error rate" in ran.errors[-1]
    assert visited.traffic() == HOME
    told = visited.in_force()
    assert is_home(told, visited.endpoints())
    print(f"from the breach until every user was in Laravel: {told['since'] - began[0]:.1f} s")
    assert told["since"] - began[0] < 60


def test_100_percent_is_fenced_and_promoted_and_again_nothing_changes(visited):
    at(visited, 0)
    other = visited.approved(*visited.canary(100, *FORCED))
    assert visited.traffic() == HOME
    visited.must(*visited.canary(100, *FORCED, "-e", "approvals_required=1"))
    assert visited.traffic() == PROMOTED
    assert f"approved by {other}" in visited.must("status.yml").said
    assert [item for _, item, result in visited.entries()[-4:] if result == "done"] == [
        *("weight_100", "fence", "promotion", "phase")
    ]
    assert visited.must(*visited.canary(100)).changed == 0
    with psycopg.connect(visited.endpoints()["laravel_dsn"], autocommit=True) as session:
        session.execute("DROP TRIGGER task_migration_fence ON tasks")
    assert (
        "Laravel is no longer fenced: ansible-playbook phase-2.4-canary.yml -e weight=100"
        in visited.must("status.yml").said
    )
    assert visited.must(*visited.canary(100)).changed
    assert "Laravel is no longer fenced" not in visited.must("status.yml").said
    assert visited.must(*visited.canary(100)).changed == 0


def test_a_fenced_laravel_takes_what_the_sync_brings_and_nothing_else(visited):
    at(visited, 100)
    endpoints = visited.endpoints()
    new = {"headers": {"X-User": "1"}, "json": {"title": "written at 100 %"}}
    with httpx.Client(trust_env=False, timeout=10) as client:
        assert client.post(f"{endpoints['laravel_url']}/api/tasks", **new).status_code == 500
        key = client.post(f"{endpoints['gateway_url']}/api/tasks", **_as_user(visited, new)).json()["data"]["id"]
    assert key > OFFSET
    until(lambda: one(endpoints["laravel_dsn"], "SELECT count(*) FROM tasks WHERE id = %s", key) == 1)


def test_a_fenced_laravel_lets_a_user_go(visited):
    at(visited, 100)
    dsn = visited.endpoints()["laravel_app_dsn"]
    owned = one(dsn, "SELECT count(*) FROM tasks WHERE user_id = 9")
    assert owned
    assert one(dsn, "WITH gone AS (DELETE FROM users WHERE id = 9 RETURNING 1) SELECT count(*) FROM gone") == 1
    assert one(dsn, "SELECT count(*) FROM tasks WHERE user_id = 9") == 0


@pytest.mark.parametrize("back", ["rollback-2.3.yml", "rollback-2.1.yml"])
def test_nothing_behind_the_canary_is_taken_back_before_it(visited, refused, back):
    at(visited, 100)
    assert refused(back).endswith("next: ansible-playbook rollback-2.4.yml")


def test_with_the_task_services_database_away_traffic_comes_home_and_the_rest_waits(visited):
    at(visited, 100)
    server = visited.world().task_service_server(visited.endpoints()["task_service_port"])
    server.stop()
    try:
        ran = visited.type(BACK, *QUICK)
    finally:
        server.start()
    assert ran.code != 0
    assert len(ran.errors) == 1, ran.said
    assert "the Task Service's database" in ran.errors[0]
    assert visited.traffic() == HOME
    until(lambda: is_home(visited.in_force(), visited.endpoints()))
    visited.must(BACK, *QUICK)


def test_users_lost_nothing_and_the_ids_never_met(visited):
    at(visited, 0)
    left = visited.must("lab-users.yml", "-e", "lab_users=off").said
    assert "0 lost, 0 doubled, 0 resurrected" in left, left
    endpoints = visited.endpoints()
    assert one(endpoints["laravel_dsn"], "SELECT last_value FROM tasks_id_seq") < OFFSET
    assert one(endpoints["task_service_dsn"], "SELECT last_value FROM tasks_id_seq") > OFFSET
    visited.must("phase-2.2-verify.yml", "-e", "rollback_test=false")
    assert visited.must(BACK, *QUICK).changed == 0


def _as_user(lab, asked):
    """As the first user whom Cognito knows."""
    sub = one(lab.endpoints()["laravel_dsn"], "SELECT cognito_sub FROM users WHERE id = 1")
    return {**asked, "headers": {"X-User": sub}}


def _age(lab, hours):
    with psycopg.connect(lab.endpoints()["laravel_dsn"]) as session:
        session.execute("ALTER TABLE task_migration.verdict DISABLE TRIGGER only_grows")
        session.execute("UPDATE task_migration.verdict SET at = at - make_interval(hours => %s)", [hours])
        session.execute("ALTER TABLE task_migration.verdict ENABLE ALWAYS TRIGGER only_grows")
