"""The bake of a new weight: judged again and again over real databases, real health endpoints, figures over HTTP."""

from __future__ import annotations

import re
import threading
import time

import pytest
from by_options import call
from canary import canary as canary_over
from canary import serving
from lab.gateway.aws_emulator import AwsEmulator
from published import Published
from task_migration.canary import canary_judgement
from task_migration.canary.bake import bake
from task_migration.errors import Failed, Refused
from workers import standing

QUICK = {
    "canary_interval_seconds": 0.3,
    "canary_bake_seconds": 0.9,
    "canary_hold_seconds": 0.9,
    "canary_window_seconds": 600,
}


@pytest.fixture(scope="module")
def verified(laravel_server, laravel_template, task_service_server, tmp_path_factory):
    reports = tmp_path_factory.mktemp("reports")
    with standing(laravel_server, laravel_template(150), task_service_server, reports, "bake") as sides:
        sides.verify()
        yield sides


@pytest.fixture
def canary(verified):
    """At a weight that was set a while ago, so that there are figures from the first look on."""
    with canary_over(verified) as made:
        made.shifted(seconds_ago=60)
        yield made


@pytest.fixture
def baking(canary):
    """Bakes for a moment; the outcome, with the lines that were shown. ``after`` is what happens after a look, by its
    number."""

    def go(shown=None, after=None, **more):
        shown = [] if shown is None else shown

        def heard(one):
            shown.append((one.doing, one.note))
            look = re.match(r"check (\d+)", one.note)
            if look and (act := (after or {}).get(int(look[1]))):
                act()

        outcome = call(bake, **{**canary.options, **QUICK, **more}, listener=heard)
        return outcome, [note for _, note in shown]

    return go


@pytest.fixture
def gateway():
    """A gateway that remembers the headers of every request for tasks."""
    seen = []

    def answer(path, headers):
        seen.append(dict(headers))
        return (200 if path == "/stage/api/tasks" else 404), b"[]", {"Set-Cookie": "AWSALB=one-target; Path=/"}

    with serving(answer) as url:
        yield f"{url}/stage", seen


@pytest.fixture
def headers_file(tmp_path):
    file = tmp_path / "probe_headers"
    file.write_text("X-User: 8c1f\nAuthorization: Bearer abc.def\n")
    file.chmod(0o600)
    return file


def later(seconds, act):
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_it_judges_until_the_time_is_over_with_a_line_of_figures_for_each_look(baking):
    outcome, shown = baking()
    assert not outcome.changed
    assert re.match(r"bake: pass at 25 % after \d+ s: 0 of 5,000 failed", outcome.message)
    assert len(shown) == outcome.details["looks"] >= 1
    assert shown[0].startswith("check 1: 0 of 5,000 failed, p95 41 ms at worst, 5,000 of 20,000 hits (25.0 %), CPU 12")
    assert outcome.details["verdict"] == "pass"
    assert outcome.details["seconds"] >= 0.9
    assert len(outcome.lines) == 10


def test_each_look_is_published(baking):
    with AwsEmulator() as emulator:
        published = Published(emulator.url, "baked")
        baking(check=True, **published.told)
        assert published.names() == set()
        outcome, _ = baking(**published.told)
        assert published.value("CanaryVerdict", "Sum") == outcome.details["looks"]
        assert published.value("CanaryWeight", "Minimum") == 25
        assert published.value("CanaryErrorRate", "Maximum") == 0
        assert published.value("CanaryLatencyP95", "Maximum") == 41
    outcome, _ = baking(**published.told)  # and nobody is there any more
    assert outcome.lines[-1].startswith("metrics are not published: AWS cannot be reached to publish metrics")


def test_a_failure_ends_it_at_the_next_look_and_says_what_failed(canary, baking):
    shown = []
    with pytest.raises(Failed) as failed:
        baking(shown, {1: lambda: canary.figures.become(errors=250)}, canary_bake_seconds=600)
    assert re.fullmatch(
        r"Failed: the canary failed at 25 % after \d+ s; measured: error rate: 250 of 5,000 requests failed \(5 %\)"
        r"( in the last 1 s)? \(allowed: below 0\.1 %, at 95 % confidence\)",
        str(failed.value),
    )
    assert len(shown) == 2
    assert shown[-1][1].startswith("check 2: FAIL error rate: 250 of 5,000")


def test_what_is_not_proven_is_held_and_kept_once_it_is(canary, baking):
    canary.figures.become(errors=3)
    better = {4: lambda: canary.figures.become(errors=0)}
    outcome, shown = baking(after=better, canary_bake_seconds=0.3, canary_hold_seconds=60)
    for number, one in enumerate(shown[:4], 1):
        assert one.startswith(f"check {number}: not proven yet: error rate; 3 of 5,000 failed")
    assert outcome.details["looks"] >= 5


def test_what_is_never_proven_fails_and_says_what_would_have_proven_it(canary, baking):
    canary.figures.become(requests=4, all_requests=16, slow=0)
    with pytest.raises(
        Failed, match=r"is inconclusive at 25 % after \d+ s.*0 of 4 .*a proof needs 2,995 req"
    ) as failed:
        baking()
    said = str(failed.value)
    assert "next: ansible-playbook phase-2.4-canary.yml -e weight=25 -e canary_probe_rate=7 " in said
    # Traffic goes back: to wait and then to type the same proves nothing.
    assert "then run the same command again" not in said


def test_what_time_alone_would_prove_says_how_long_to_hold_it(canary, baking):
    canary.figures.become(requests=2900, all_requests=11_600)
    with pytest.raises(Failed, match="is inconclusive at 25 %") as failed:
        baking()
    assert re.search(r"-e canary_probe_rate=1 sends .*; or -e canary_hold_seconds=[2-6] waits", str(failed.value))


def test_figures_of_the_task_service_that_are_late_are_held_and_fail_if_they_stay_away(canary, baking):
    nothing = {"requests": None, "slow": None, "p95_ms": None, "all_requests": 1300}
    canary.figures.newest = (1, nothing)
    outcome, shown = baking(after={3: lambda: setattr(canary.figures, "newest", None)}, canary_hold_seconds=60)
    assert shown[0].startswith("check 1: not proven yet: hits; 0 of 5,000 failed")
    assert outcome.details["verdict"] == "pass"
    canary.figures.newest = (2, nothing)
    with pytest.raises(Failed, match=r"hits: 0 of 1,300 hits \(0.0 %\) in the last 2 s: the others do not arrive"):
        baking(canary_bake_seconds=600)


def test_a_table_that_is_altered_meanwhile_is_held_and_fails_nothing(canary, baking):
    canary.sides.target("ALTER TABLE tasks ADD COLUMN remark text")
    as_it_was = {4: lambda: canary.sides.target("ALTER TABLE tasks DROP COLUMN remark")}
    outcome, shown = baking(after=as_it_was, canary_hold_seconds=60)
    assert shown[0].startswith("check 1: not proven yet: verdict; ")
    assert outcome.details["verdict"] == "pass"


def test_a_sync_that_is_not_there_is_held_for_a_minute_and_then_fails(canary, baking, monkeypatch):
    monkeypatch.setattr(canary_judgement, "STANDSTILL_SECONDS", 1.0)
    canary.backward.become("reconnecting")
    baking(after={1: lambda: canary.backward.become("running")}, canary_hold_seconds=60)
    with pytest.raises(Failed, match=r"sync forward: no answer on 127\.0\.0\.1:1 for \d+ s"):
        baking(sync_health_ports={**canary.ports, "forward": 1}, canary_bake_seconds=600)


def test_figures_or_a_database_that_are_away_for_a_moment_fail_nothing_and_pass_nothing(canary, baking):
    canary.figures.away = True

    def come_back():
        canary.figures.away = False
        canary.sides.ours(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'task_migration gate%%'"
        )

    outcome, shown = baking(after={3: come_back}, canary_hold_seconds=60)
    assert "not proven yet: error rate, p95, hits, gateway, database CPU" in shown[0]
    assert any("divergence" in one for one in shown)
    assert outcome.details["verdict"] == "pass"


def test_a_cpu_that_stays_above_its_bound_fails_and_a_moment_of_it_does_not(canary, baking, monkeypatch):
    monkeypatch.setattr(canary_judgement, "SUSTAINED_SECONDS", 5)
    canary.figures.become(cpu_percent=91)
    # One point is in every window of three periods, for three seconds here.
    timer = later(2.8, lambda: canary.figures.become(cpu_percent=12))
    baking(canary_hold_seconds=60)
    timer.join()
    monkeypatch.setattr(canary_judgement, "SUSTAINED_SECONDS", 0.8)
    canary.figures.become(cpu_percent=91)
    with pytest.raises(Failed, match=r"database CPU: 91 % for \d+ s"):
        baking(canary_bake_seconds=600)


def test_it_waits_until_the_weight_is_in_force_everywhere(canary, baking):
    began = time.monotonic()
    canary.shifted()
    shown = []
    baking(shown, canary_settle_seconds=3, canary_hold_seconds=60)
    since_settled = time.monotonic() - began - 3
    assert re.fullmatch(r"until the weight is active everywhere, [0-3] s", shown[0][1])
    assert shown[0][0] == "waiting at 25 %"
    assert since_settled >= 0.9
    # But for what was before, to compare it with.
    windows = [int(one.split()[1]) for one in canary.figures.asked if one.startswith("requests")]
    assert sum(seconds > since_settled + 1 for seconds in windows) == 1


def test_a_verdict_that_gets_old_meanwhile_takes_nothing_back(canary, baking):
    (age,) = canary.sides.ours(
        "SELECT extract(epoch FROM clock_timestamp() - max(at))::float8 FROM task_migration.verdict"
    )
    outcome, _ = baking(verdict_max_age_hours=(age[0] + 0.6) / 3600)
    assert outcome.details["verdict"] == "pass"


def test_less_confidence_is_said_at_every_look(baking):
    outcome, shown = baking(canary_confidence_percent=5)
    assert all("at 5 % confidence" in one for one in [*shown, outcome.message])


def test_probes_go_through_the_gateway_with_their_headers_at_the_rate_that_was_asked_for(baking, gateway, headers_file):
    url, seen = gateway
    probes = {"canary_probe_rate": 50, "gateway_url": url, "gateway_probe_headers_file": str(headers_file)}
    outcome, shown = baking(**probes, canary_bake_seconds=1.5)
    assert 25 <= outcome.details["probes"] <= 50 * outcome.details["seconds"] + 5
    assert outcome.details["probes_failed"] == 0
    assert {one["X-User"] for one in seen} == {"8c1f"}
    assert not any("Cookie" in one for one in seen)
    assert "0 of " in shown[-1]
    assert shown[-1].endswith("probes failed")
    said = " ".join([*shown, outcome.message, *outcome.lines])
    assert not any(secret in said for secret in ("8c1f", "X-User", "abc.def", "Authorization"))


def test_probes_that_fail_are_told_and_fail_nothing_by_themselves(baking, gateway):
    url, _ = gateway
    outcome, _ = baking(canary_probe_rate=20, gateway_url=url, gateway_probe_path="/api/nothing")
    assert outcome.details["probes_failed"] == outcome.details["probes"] > 0
    assert outcome.message.endswith("probes failed, HTTP 404")


def test_check_mode_says_what_it_would_do_and_sends_nothing(canary, baking, gateway):
    url, seen = gateway
    outcome, shown = baking(check=True, canary_probe_rate=20, gateway_url=url)
    assert outcome.message == (
        "would judge 25 % every 0.3 s for 0 s, with 20 reads per second through the gateway, and hold it for 0 s more "
        "while that is inconclusive"
    )
    assert (outcome.changed, shown, seen, canary.figures.asked) == (False, [], [], [])


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gateway_url": ""}, "gateway_url is empty"),
        ({"gateway_url": "http://tasks.example.com"}, "must not leave this machine without TLS"),
        ({"gateway_url": "https://me:secret@tasks.example.com"}, "the address of the gateway is not valid"),
        ({"gateway_probe_path": "api/tasks"}, "a path that begins with /"),
        ({"gateway_probe_headers_file": "/nowhere"}, "cannot read the headers of the probes from /nowhere"),
    ],
)
def test_probes_that_can_not_be_sent_are_refused_before_anything_begins(canary, baking, check, wrong, said):
    with pytest.raises(Refused, match=said) as refused:
        baking(check=check, **{"canary_probe_rate": 1, "gateway_url": "http://127.0.0.1:1", **wrong})
    assert "secret" not in str(refused.value)
    assert canary.figures.asked == []


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("X-User: 8c1f\n", 0o644, "mode 0644"),
        ("X-User: 8c1f\nno header\n", 0o600, "line 2 is not a header"),
        ("X-User: \u00e9\n", 0o600, "line 1 is not a header"),
        ("\n", 0o600, "the file is empty"),
    ],
)
def test_a_file_of_headers_that_others_can_read_or_that_holds_none_is_refused(baking, headers_file, text, mode, said):
    headers_file.write_text(text)
    headers_file.chmod(mode)
    probes = {"canary_probe_rate": 1, "gateway_url": "http://127.0.0.1:1"}
    with pytest.raises(Refused, match=said) as refused:
        baking(**probes, gateway_probe_headers_file=str(headers_file))
    assert "8c1f" not in str(refused.value)
