"""The gate of the canary: real databases, real health endpoints, figures over HTTP."""

from __future__ import annotations

import pytest
from by_options import call
from canary import canary as canary_over
from canary import serving
from sides import SIGNED_OFF
from task_migration.canary.canary_gate import canary_gate
from task_migration.control.sync_switch import sync_switch
from task_migration.errors import Refused
from workers import standing


@pytest.fixture(scope="module")
def verified(laravel_server, laravel_template, task_service_server, tmp_path_factory):
    reports = tmp_path_factory.mktemp("reports")
    with standing(laravel_server, laravel_template(150), task_service_server, reports, "gate") as sides:
        sides.verify()
        yield sides


@pytest.fixture
def canary(verified):
    with canary_over(verified) as made:
        yield made


@pytest.fixture
def api():
    """A Task Service that counts who asks for its health."""
    asked = []

    def answer(path, _):
        asked.append(path)
        return 200 if "fail" not in asked else 500, b"{}"

    with serving(answer) as url:
        yield url, asked


def test_when_all_is_well_it_passes_with_the_figures_and_changes_nothing(canary):
    outcome = call(canary_gate, **canary.options)
    assert not outcome.changed
    assert outcome.message.startswith(
        "gate: pass at 25 %: 0 of 5,000 failed, p95 41 ms at worst, 5,000 of 20,000 hits (25.0 %), CPU 12 %, sync "
    )
    assert len(outcome.lines) == len(outcome.details["findings"]) == 10
    assert all(line.startswith("pass: ") for line in outcome.lines)
    assert outcome.details["verdict"] == "pass"
    assert outcome.details["figures"]["requests"] == 5000
    assert call(canary_gate, **canary.options, check=True).message == outcome.message


def test_a_bound_that_is_broken_closes_it_and_the_message_names_no_other(canary):
    canary.figures.become(errors=50)
    with pytest.raises(Refused) as refused:
        call(canary_gate, **canary.options)
    assert str(refused.value) == (
        "Refused, nothing was changed: the canary gate failed at 25 %; measured: error rate: 50 of 5,000 requests "
        "failed (1 %) (allowed: below 0.1 %, at 95 % confidence); next: fix that, then run the same command again; or "
        "ansible-playbook phase-2.4-canary.yml -e weight=0 sends all traffic to Laravel"
    )


def test_too_few_requests_prove_nothing_and_it_says_how_to_get_more(canary):
    canary.figures.become(requests=40, slow=0, all_requests=160)
    with pytest.raises(
        Refused, match=r"is inconclusive at 25 %; measured: error rate: 0 of 40 .* 2,995 requests: "
    ) as refused:
        call(canary_gate, **canary.options)
    assert "next: ansible-playbook phase-2.4-canary.yml -e weight=25 -e canary_probe_rate=" in str(refused.value)


def test_less_confidence_is_said_in_the_verdict(canary):
    canary.figures.become(requests=60, slow=0, all_requests=240)
    few = {"canary_confidence_percent": 5, "canary_p95_samples": 40}
    assert call(canary_gate, **canary.options, **few).message.startswith(
        "gate: pass at 25 % at 5 % confidence: 0 of 60 failed"
    )
    canary.figures.become(requests=30)
    with pytest.raises(Refused, match="inconclusive at 25 % at 5 % confidence"):
        call(canary_gate, **canary.options, **few)


def test_without_figures_it_never_passes(canary):
    canary.figures.away = True
    with pytest.raises(Refused, match=r"is inconclusive.*error rate: .*p95: .*hits: .*database CPU: "):
        call(canary_gate, **canary.options)
    canary.figures.away = False
    canary.figures.become(requests=None, errors=None, slow=None, p95_ms=None, all_requests=None)
    with pytest.raises(Refused, match="no request in"):
        call(canary_gate, **canary.options)


@pytest.mark.parametrize(("side", "unknown"), [("laravel", "divergence"), ("task_service", "dead letters")])
def test_a_database_that_does_not_answer_is_no_pass_and_no_crash(canary, side, unknown):
    away = {f"{side}_dsn": "host=127.0.0.1 port=1 user=nobody dbname=nothing"}
    with pytest.raises(Refused, match=rf"is inconclusive.*{unknown}: .*cannot be reached"):
        call(canary_gate, **{**canary.options, **away})


def test_a_sync_that_is_blocked_or_away_closes_it(canary):
    canary.backward.become("blocked", "writes would be lost")
    with pytest.raises(Refused, match=r"failed at 25 %; measured: sync backward: blocked: writes would be lost"):
        call(canary_gate, **canary.options)
    with pytest.raises(Refused, match=r"inconclusive.*sync forward: no answer on 127\.0\.0\.1:1 "):
        call(canary_gate, **{**canary.options, "sync_health_ports": {"forward": 1, "backward": 1}})


def test_a_check_that_failed_closes_it_and_one_that_is_old_proves_nothing(canary):
    canary.checked(passed=False)
    with pytest.raises(Refused, match=r"red.*divergence: found \d+ s ago: tasks: 1 missing"):
        call(canary_gate, **canary.options)
    canary.checked()
    with pytest.raises(Refused, match=r"inconclusive.*divergence: the last check is"):
        call(canary_gate, **canary.options, consistency_every_seconds=0)


def test_a_verdict_that_is_old_or_of_other_tables_closes_it(canary):
    with pytest.raises(Refused, match=r"red.*verdict: the verdict of .* old.*next: ansible-playbook phase-2\.2-verify"):
        call(canary_gate, **{**canary.options, "verdict_max_age_hours": 0})
    canary.sides.target("ALTER TABLE tasks ADD COLUMN remark text")
    try:
        with pytest.raises(Refused, match="verdict: a table was altered"):
            call(canary_gate, **canary.options)
    finally:
        canary.sides.target("ALTER TABLE tasks DROP COLUMN remark")
    call(canary_gate, **canary.options)


def test_a_row_that_could_not_cross_closes_it_unless_its_kind_is_signed_off(canary):
    canary.sides.target(
        "INSERT INTO task_migration.quarantine VALUES ('tasks', 7, 'refused_by_database', true, 'a test')"
    )
    try:
        with pytest.raises(Refused, match=r"red.*dead letters: 1 refused_by_database .*next: .*sync-report\.yml"):
            call(canary_gate, **canary.options)
        signed = {**SIGNED_OFF, "refused_by_database": "known"}
        assert (
            call(canary_gate, **{**canary.options, "quarantine_signed_off": signed}).details["figures"]["dead_letters"]
            == 0
        )
    finally:
        canary.sides.target("DELETE FROM task_migration.quarantine WHERE key = 7 AND kind = 'refused_by_database'")


def test_traffic_counts_since_the_last_shift_and_the_time_it_took_to_be_in_force(canary):
    call(canary_gate, **canary.options, canary_window_seconds=600)
    assert "requests 599" in canary.figures.asked  # whole periods
    canary.shifted()
    with pytest.raises(Refused, match="error rate: no metrics yet; they come up to 1 s late"):
        call(canary_gate, **{**canary.options, "canary_settle_seconds": 60})


def test_the_end_of_the_window_is_judged_by_itself_too(canary):
    call(canary_gate, **canary.options, canary_window_seconds=600, canary_interval_seconds=30)
    assert {"requests 599", "slow 599 0.2", "requests 30", "slow 30 0.2", "cpu_percent 30"} <= set(canary.figures.asked)


def test_at_weight_0_the_api_is_asked_and_no_traffic_is_judged(canary, api):
    url, asked = api
    outcome = call(canary_gate, **{**canary.options, "weight": 0, "task_service_url": url})
    assert len(asked) == 20
    assert outcome.message.startswith("gate: pass at 0 %: no traffic yet, the API answered 20 of 20, CPU 12 %, sync ")
    assert outcome.lines[-1] == "not judged: error rate, p95 and hits: there is no traffic yet"
    asked.append("fail")
    with pytest.raises(Refused, match=r"at 0 %; measured: API: 20 of 20 requests failed, HTTP 500.*next: [^;]*$"):
        call(canary_gate, **{**canary.options, "weight": 0, "task_service_url": url})


def test_no_user_moves_before_the_gateways_requests_and_errors_are_counted(canary):
    at_0 = {**canary.options, "weight": 0}
    canary.figures.become(all_requests=None)
    with pytest.raises(Refused, match=r"inconclusive at 0 %; measured: gateway: no request .*next: send a request"):
        call(canary_gate, **at_0)
    canary.figures.become(all_requests=1, requests=None, slow=None, p95_ms=None)
    assert any("pass: gateway: 0 of 1 requests failed in " in line for line in call(canary_gate, **at_0).lines)
    canary.figures.away = True
    with pytest.raises(Refused, match=r"inconclusive at 0 %; measured: gateway: .*503"):
        call(canary_gate, **at_0)


def test_at_weight_0_traffic_counts_however_lately_the_weight_was_set(canary):
    canary.shifted(to=0)
    call(canary_gate, **{**canary.options, "weight": 0}, canary_window_seconds=600)
    assert "all_requests 599" in canary.figures.asked


def test_errors_at_the_gateway_are_held_against_those_of_before_the_shift(canary):
    canary.shifted(seconds_ago=7200, to=5)
    canary.shifted(seconds_ago=61)
    canary.figures.before = {"requests": 1000, "errors": 0, "slow": 0, "all_requests": 20_000, "all_errors": 40}
    canary.figures.become(all_errors=35)
    assert any("pass: gateway: 35 of 20,000" in line for line in call(canary_gate, **canary.options).lines)
    assert "all_errors 3599" in canary.figures.asked
    canary.figures.become(all_errors=200)
    with pytest.raises(
        Refused, match=r"failed at 25 %; measured: gateway: 200 of 20,000 .* in addition to the 40 of 20,000"
    ):
        call(canary_gate, **canary.options)


def test_at_the_weight_before_no_time_before_that_is_looked_at(canary):
    canary.shifted(seconds_ago=300, to=5)
    canary.shifted(seconds_ago=61)
    call(canary_gate, **canary.options)
    (length,) = {int(one.split()[1]) for one in canary.figures.asked if one.startswith("all_errors")} - {60}
    assert length in range(237, 240)


def test_at_weight_0_the_sync_backward_is_judged_only_if_it_is_on(canary):
    away = {**canary.options, "weight": 0, "sync_health_ports": {**canary.ports, "backward": 1}}
    with pytest.raises(Refused, match="sync backward: no answer"):
        call(canary_gate, **away)
    turn = {"laravel_dsn": canary.sides.laravel_dsn, "name": "sync_backward"}
    sync_switch(**turn, state="off")
    try:
        assert "the sync backward: it is not on yet" in call(canary_gate, **away).lines[-1]
        with pytest.raises(Refused, match="sync backward: no answer"):
            call(canary_gate, **{**away, "weight": 25})
    finally:
        sync_switch(**turn, state="on")


def test_a_metric_source_that_can_not_be_meant_is_refused(canary):
    with pytest.raises(Refused, match="metric_source"):
        call(canary_gate, **{**canary.options, "metric_source": {}})
