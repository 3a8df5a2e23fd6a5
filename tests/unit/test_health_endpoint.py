"""What a sync reports: latencies, states, JSON and Prometheus's text, over real HTTP."""

from __future__ import annotations

import http.client
import json
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families
from task_migration.errors import Refused
from task_migration.runtime import health_endpoint, latency, sync_status
from task_migration.runtime.stop_signal import Stop
from task_migration.sync.sync_worker import SyncSnapshot, SyncStep

SNAPSHOT = SyncSnapshot(
    pending=7, oldest_seconds=1.5, skew_seconds=0.25, enabled=True, held_back=2, conflicts=3, problem=""
)


@pytest.fixture
def stop():
    stop = Stop()
    yield stop
    stop.close()


@pytest.fixture
def alive(stop):
    """A sync's status after one batch of four entries."""
    alive = sync_status.SyncStatus("forward", stop)
    alive.become("running")
    alive.record_snapshot(SNAPSHOT)
    alive.record_step(SyncStep(entries=4, latencies=(0.004, 0.005, 0.006, 2.0), conflicts=1, waiting=1))
    return alive


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


# Health


def test_health_says_everything_that_the_runbook_asks_for(alive):
    with health_endpoint.answering(alive, 0) as port:
        status, body = get(port, "/health")
    said = json.loads(body)
    assert status == 200
    assert (said["direction"], said["state"]) == ("forward", "running")
    assert (said["entries_total"], said["batches_total"]) == (4, 1)
    assert (said["pending"], said["oldest_seconds"], said["skew_seconds"]) == (7, 1.5, 0.25)
    assert (said["conflicts"], said["held_back"], said["waiting"], said["enabled"]) == (3, 2, 1, True)
    assert said["lag_ms"]["p50"] == pytest.approx(5, rel=0.01)
    assert said["lag_ms"]["p99"] == pytest.approx(2000, rel=0.01)
    assert said["entries_per_second"] == 4
    assert said["last_carried_at"] is not None
    assert said.keys() >= {"since", "pid", "last_error", "version"}


@pytest.mark.parametrize(
    ("state", "status"), [("running", 200), ("paused", 200), ("reconnecting", 503), ("blocked", 503)]
)
def test_only_a_sync_that_runs_or_is_paused_is_well(alive, state, status):
    alive.become(state)
    with health_endpoint.answering(alive, 0) as port:
        assert get(port, "/health")[0] == status


def test_a_sync_that_is_to_stop_says_so_at_once(alive, stop):
    stop.set()
    with health_endpoint.answering(alive, 0) as port:
        status, body = get(port, "/health")
    assert (status, json.loads(body)["state"]) == (503, "stopping")


def test_ask_gives_what_an_ill_sync_says_and_nothing_where_nobody_answers(alive):
    alive.become("blocked", "no capture on tasks")
    with health_endpoint.answering(alive, 0) as port:
        assert health_endpoint.ask(port)["last_error"] == "no capture on tasks"
    assert health_endpoint.ask(port) is None


def test_ask_does_not_wait_for_one_who_listens_and_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert health_endpoint.ask(silent.getsockname()[1], timeout=0.2) is None


def test_a_port_that_is_taken_is_refused_in_one_line(alive):
    with health_endpoint.answering(alive, 0) as port:
        one_line = rf"^[^\n]*127\.0\.0\.1:{port} is in use[^\n]*$"
        with pytest.raises(Refused, match=one_line), health_endpoint.answering(alive, port):
            pass


def test_it_listens_on_loopback_only(alive):
    with health_endpoint.answering(alive, 0) as port:
        outward = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with outward:
            outward.connect(("192.0.2.1", 9))  # sends nothing; tells this machine's own address
            address = outward.getsockname()[0]
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, port), timeout=1)


def test_another_path_is_not_found(alive):
    with health_endpoint.answering(alive, 0) as port:
        assert get(port, "/")[0] == 404


# Metrics


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_prometheus_s_and_agree_with_health(alive):
    with health_endpoint.answering(alive, 0) as port:
        found = samples(get(port, "/metrics")[1])
    forward = ("direction", "forward")
    assert found["task_migration_sync_entries_total", forward] == 4
    assert found["task_migration_sync_conflicts_total", forward] == 1
    assert found["task_migration_sync_conflicts_recorded", forward] == 3
    assert found["task_migration_sync_pending", forward] == 7
    assert found["task_migration_sync_healthy", forward] == 1
    assert found["task_migration_sync_state", forward, ("state", "running")] == 1
    assert found["task_migration_sync_state", forward, ("state", "blocked")] == 0
    assert found["task_migration_sync_latency_seconds_count", forward] == 4
    assert found["task_migration_sync_latency_seconds_sum", forward] == pytest.approx(2.015)
    assert found["task_migration_sync_latency_seconds_bucket", forward, ("le", "0.005")] == 2
    assert found["task_migration_sync_latency_seconds_bucket", forward, ("le", "+Inf")] == 4


def test_metrics_are_there_before_anything_was_looked_at(stop):
    with health_endpoint.answering(sync_status.SyncStatus("backward", stop), 0) as port:
        found = samples(get(port, "/metrics")[1])
    assert found["task_migration_sync_pending", ("direction", "backward")] == 0
    assert found["task_migration_sync_healthy", ("direction", "backward")] == 0


# Lag


def test_percentiles_are_right_to_one_percent():
    measured = latency.LatencyWindow()
    measured.add(1000, [number / 1000 for number in range(1, 1001)])
    found = measured.percentiles()
    assert found == {
        "p50": pytest.approx(500, rel=0.01),
        "p95": pytest.approx(950, rel=0.01),
        "p99": pytest.approx(990, rel=0.01),
    }


def test_what_is_older_than_a_minute_no_longer_counts(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(latency.time, "monotonic", lambda: now[0])
    measured = latency.LatencyWindow()
    measured.add(60, [9.0])
    now[0] += 59
    assert measured.percentiles()["p50"] == pytest.approx(9000, rel=0.01)
    assert measured.entries_per_second() == pytest.approx(60 / 59, abs=0.01)
    now[0] += 2
    assert measured.percentiles() == {"p50": None, "p95": None, "p99": None}
    assert measured.entries_per_second() == 0


def test_a_clock_that_runs_behind_makes_no_latency_below_zero():
    measured = latency.LatencyWindow()
    measured.add(1, [-3.0])
    assert measured.percentiles()["p50"] == pytest.approx(0.01, rel=0.01)
    assert measured.seconds_in_all == 0


def test_the_history_never_outgrows_twice_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "HISTORY_BYTES", 1000)
    path = tmp_path / "kept" / "lag-forward.jsonl"
    for number in range(200):
        latency.append_sample(path, {"number": number})
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["lag-forward.jsonl", "lag-forward.jsonl.1"]
    assert all(file.stat().st_size < 1100 for file in files)
    assert json.loads(path.read_text().splitlines()[-1]) == {"number": 199}
