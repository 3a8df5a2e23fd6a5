"""The watch, and one look at its conditions: a real API to ask, a real health endpoint, a real database."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from task_migration import consistency_history, database, health, journal
from task_migration.errors import Failed, Refused
from task_migration.probe import Probe
from task_migration.stopping import Stop
from task_migration.switch import switch
from task_migration.triggers import triggers
from task_migration.vitals import Vitals
from task_migration.watch import watch


@pytest.fixture
def api():
    """An API whose GET /health answers ``status`` with ``content_type`` after ``seconds``."""
    says = SimpleNamespace(status=200, content_type="application/json", seconds=0.0, asked=0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            says.asked += 1
            time.sleep(says.seconds)
            self.send_response(says.status if self.path == "/health" else 404)
            self.send_header("Content-Type", says.content_type)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    says.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield says
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def sync():
    """What a running sync tells of itself; ``sync.become`` changes its state."""
    vitals = Vitals("forward", Stop())
    vitals.become("running")
    with health.answering(vitals, 0) as port:
        yield SimpleNamespace(port=port, become=vitals.become)


@pytest.fixture
def dual_write(sides):
    """Sides as phase 2.3 leaves them: the switch on, one consistency check that passed."""
    switch(laravel_dsn=sides.laravel_dsn, name="sync_forward", state="on", reason="test")
    keep(sides)
    return sides


def keep(sides, passed=True):
    found = {"seconds": 0.2, "differences": 0, "keys": [], "change_log_length": 0, "alerted": False}
    with database.connect(database.laravel(sides.laravel_dsn), "test") as connection:
        details = {} if passed else {"reasons": ["tasks: 1 missing"]}
        consistency_history.keep(connection, passed=passed, **found, details=details)


@pytest.fixture
def told(dual_write, sync, api):
    return {
        "laravel_dsn": dual_write.laravel_dsn,
        "sync_health_ports": {"forward": sync.port, "backward": 1},
        "task_service_url": api.url,
    }


@pytest.fixture
def watching(told):
    """Watches for a moment; the outcome, with the lines that were shown."""

    def go(**more):
        shown = []
        quick = {"watch_interval_seconds": 0.4, "watch_seconds": 0.9, "aws_region": "ap-northeast-1"}
        outcome = watch(**{**told, **quick, **more}, listener=lambda one: shown.append(one.note))
        return outcome, shown

    return go


def grades(outcome):
    return {one["name"]: one["grade"] for one in outcome.details["conditions"] if one["grade"] != "fine"}


def test_when_all_is_well_it_watches_until_its_time_is_over_with_a_line_for_each_look(dual_write, watching, api):
    outcome, shown = watching()
    assert not outcome.details["breached"]
    assert grades(outcome) == {}
    assert len(shown) == 3
    assert "0 of " in shown[0]
    assert "sync running" in shown[0]
    assert "consistency passed" in shown[0]


def test_what_was_asked_is_written_down_for_the_checklist(dual_write, watching, api):
    outcome, _ = watching()
    with database.connect(database.laravel(dual_write.laravel_dsn), "test") as connection:
        (entry,) = journal.entries(connection, "2.3")
    assert entry.evidence == {"requests": outcome.details["requests"], "errors": 0}
    assert outcome.details["requests"] >= 30


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 500}, "100.0 %"),
        ({"content_type": "text/html"}, "a page of HTML"),
        ({"seconds": 0.06}, "latency of the Task Service's API: p95"),
    ],
)
def test_an_api_that_fails_is_a_breach_at_the_next_look(watching, api, fault, said):
    vars(api).update(fault)
    outcome, shown = watching(watch_seconds=60, trigger_latency_ms=50)
    assert outcome.details["breached"]
    assert said in outcome.details["cause"]
    assert len(shown) <= 3  # a machine that is busy asks less often than it should


def test_an_api_that_is_gone_is_a_breach(watching):
    outcome, _ = watching(task_service_url="http://127.0.0.1:1", watch_seconds=60)
    assert "ConnectError" in outcome.details["cause"]


def test_one_probe_that_fails_takes_nothing_back(watching, api):
    def fail_once():
        while api.asked < 10:
            time.sleep(0.001)
        api.status = 500
        while api.asked < 11:
            time.sleep(0.001)
        api.status = 200

    thread = threading.Thread(target=fail_once)
    thread.start()
    outcome, _ = watching(watch_interval_seconds=1, watch_seconds=2)
    thread.join()
    assert not outcome.details["breached"]
    assert outcome.details["errors"] >= 1


def test_a_consistency_check_that_failed_is_a_breach(dual_write, watching):
    keep(dual_write, passed=False)
    outcome, _ = watching()
    assert "consistency: failed" in outcome.details["cause"]
    assert "tasks: 1 missing" in outcome.details["cause"]


def test_a_sync_that_is_blocked_is_a_breach_with_why_and_one_that_reconnects_is_not(watching, sync):
    sync.become("reconnecting", "the database restarts")
    outcome, _ = watching()
    assert grades(outcome) == {"sync": "warns"}
    sync.become("blocked", "writes would be lost: they are not captured")
    outcome, _ = watching()
    assert "blocked: writes would be lost" in outcome.details["cause"]


def test_without_an_address_of_the_api_it_says_unknown_and_never_fine(watching):
    outcome, shown = watching(task_service_url="")
    assert set(grades(outcome).values()) == {"unknown"}
    assert len(grades(outcome)) == 2
    assert "API unknown" in shown[0]


def test_a_switch_that_is_turned_off_meanwhile_ends_the_watch_as_no_fault(dual_write, watching):
    timer = threading.Timer(
        0.3,
        switch,
        kwargs={"laravel_dsn": dual_write.laravel_dsn, "name": "sync_forward", "state": "off", "reason": "me"},
    )
    timer.start()
    outcome, _ = watching(watch_seconds=60)
    timer.join()
    assert not outcome.details["breached"]
    assert "turned off" in outcome.message
    assert outcome.message.endswith(": me")
    with pytest.raises(Refused, match=r"nothing to watch.*next: ansible-playbook phase-2\.3-dual-write\.yml"):
        watching()


def test_a_change_log_that_grows_is_told_once_and_takes_nothing_back(dual_write, watching, tmp_path):
    dual_write.laravel("UPDATE tasks SET description = 'written'")
    file = tmp_path / "alerts"
    tells = ["sh", "-c", f'echo "$ALERT_SUBJECT" >> {file}']
    outcome, _ = watching(change_log_warn_entries=1, alert_command=tells)
    assert grades(outcome) == {"change log": "warns"}
    assert file.read_text().splitlines() == ["Task migration: change log: warns"]
    outcome, _ = watching(change_log_warn_entries=1, change_log_max_entries=2, alert_command=tells)
    assert (grades(outcome), outcome.details["breached"]) == ({"change log": "red"}, False)


def test_check_mode_looks_once_and_writes_nothing_down(dual_write, watching):
    outcome, shown = watching(check=True)
    assert (outcome.details["breached"], shown) == (False, [])
    with database.connect(database.laravel(dual_write.laravel_dsn), "test") as connection:
        assert journal.entries(connection, "2.3") == []


def test_one_look_is_green_or_fails_with_what_to_type(told, api, sync):
    outcome = triggers(**told)
    assert not outcome.changed
    assert (outcome.details["requests"], outcome.details["errors"]) == (20, 0)
    assert len(outcome.lines) == 6
    api.status = 503
    with pytest.raises(Failed, match=r"HTTP 503.*next: ansible-playbook rollback-2\.3\.yml"):
        triggers(**told)


def test_a_change_log_beyond_its_bound_keeps_a_gate_closed(dual_write, told):
    dual_write.laravel("UPDATE tasks SET description = 'written'")
    with pytest.raises(Failed, match="change log"):
        triggers(**told, change_log_max_entries=1)


def test_an_address_without_tls_elsewhere_is_refused():
    with pytest.raises(Refused, match="TLS"):
        Probe("http://tasks.example.com", "", 30)
