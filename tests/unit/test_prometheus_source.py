"""Prometheus's answers as the figures of a gate, over real HTTP, in the form that its HTTP API documents."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from lab.servers.postgres_server import free_port
from task_migration.canary import metric_sources
from task_migration.canary.metric_source import TrafficCounts, Unmeasured
from task_migration.errors import Refused
from task_migration.external.aws import Aws

QUERIES = {
    "requests": 'sum(increase(requests_total{app="task-service"}[{seconds}s]))',
    "errors": 'sum(increase(requests_total{app="task-service", status=~"5.."}[{seconds}s]))',
    "slow": 'sum(increase(seconds_count[{seconds}s])) - sum(increase(seconds_bucket{le="{slow_seconds}"}[{seconds}s]))',
    "p95_ms": "1000 * histogram_quantile(0.95, sum by (le) (increase(seconds_bucket[{seconds}s])))",
    "cpu_percent": "max(max_over_time(cpu_percent[{seconds}s]))",
    "all_requests": "sum(increase(gateway_requests_total[{seconds}s]))",
    "all_errors": 'sum(increase(gateway_requests_total{status=~"5.."}[{seconds}s]))',
}
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
END = START + timedelta(minutes=10)


def vector(*values, **more):
    """An instant vector, one series for each value."""
    series = [{"metric": {"instance": f"i{n}"}, "value": [END.timestamp(), value]} for n, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": series}, **more}


def scalar(value):
    return {"status": "success", "data": {"resultType": "scalar", "result": [END.timestamp(), value]}}


def error(kind, text):
    return {"status": "error", "errorType": kind, "error": text}


EMPTY = vector()
WELL = {
    "requests": vector("1234.4"),
    "errors": vector("2.04"),
    "slow": vector("11"),
    "p95_ms": vector("41.5"),
    "cpu_percent": vector("12.25"),
    "all_requests": vector("4936"),
    "all_errors": vector("5"),
}


@contextmanager
def answering(answers, status=200, slow="0.2"):
    """A Prometheus that gives these answers, each by its query's name; its address, and what it was asked."""
    names = {one.replace("{seconds}", "600").replace("{slow_seconds}", slow): name for name, one in QUERIES.items()}
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            asked.append((url.path, {name: value for name, (value,) in parse_qs(url.query).items()}))
            found = answers[names[asked[-1][1]["query"]]]
            body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/prometheus/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings(url="http://127.0.0.1:9090", queries=QUERIES, **changes):
    return {
        "kind": "prometheus",
        "url": url,
        "period_seconds": 10,
        "delay_seconds": 15,
        "queries": queries,
        **changes,
    }


def source(*given, **changes):
    return metric_sources.source(settings(*given, **changes), Aws("ap-northeast-1", ""))


def traffic(changes=(), status=200, queries=QUERIES):
    with answering({**WELL, **dict(changes)}, status) as (url, _):
        return source(url, queries).traffic(START, END, 200)


def test_each_figure_is_the_answer_to_its_query():
    assert traffic() == TrafficCounts(1234, 2, 11, 41.5, 4936, 5)


def test_it_is_asked_for_the_window_as_it_ended():
    with answering(WELL) as (url, asked):
        found = source(url)
        found.traffic(START, END, 200)
        assert found.cpu_percent(START, END) == 12.25
    assert {path for path, _ in asked} == {"/prometheus/api/v1/query"}
    assert {query["time"] for _, query in asked} == {f"{END.timestamp():.3f}"}
    assert 'requests_total{app="task-service"}[600s]' in asked[0][1]["query"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"errors": EMPTY}, {"errors": 0}),
        ({"errors": vector("NaN")}, {"errors": 0}),
        ({"errors": vector("0.3")}, {"errors": 1}),
        ({"p95_ms": EMPTY}, {"p95_ms": None}),
        ({"p95_ms": vector("NaN")}, {"p95_ms": None}),
        ({"p95_ms": vector("+Inf")}, {"p95_ms": None}),
        ({"all_requests": EMPTY}, {"all_requests": None, "all_errors": None}),
        ({"all_errors": EMPTY}, {"all_errors": 0}),
        ({"requests": scalar("1234")}, {}),
        ({"requests": vector("1234", warnings=["slow"], infos=["metric might not be a counter"])}, {}),
        ({"slow": vector("2000")}, {"slow": 1234}),
        ({"requests": EMPTY, "errors": EMPTY, "slow": EMPTY}, {"requests": 0, "errors": 0, "slow": 0}),
        ({"requests": vector("NaN"), "errors": EMPTY, "slow": EMPTY}, {"requests": 0, "errors": 0, "slow": 0}),
        ({"requests": EMPTY, "errors": vector("7")}, {"requests": 7, "errors": 7, "slow": 7}),
    ],
)
def test_what_is_missing_is_taken_for_what_it_means(changes, expected):
    well = {"requests": 1234, "errors": 2, "slow": 11, "p95_ms": 41.5, "all_requests": 4936, "all_errors": 5}
    assert traffic(changes) == TrafficCounts(**well | expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slow": EMPTY}, r"queries.slow; measured: 1234 requests, but an empty result"),
        ({"slow": vector("NaN")}, r"queries.slow; measured: 1234 requests, but an empty result"),
        ({"requests": vector("1", "2")}, r"queries.requests; measured: 2 series instead of one"),
        ({"requests": vector("-3")}, r"queries.requests; measured: -3, which is not a count"),
        ({"errors": vector("+Inf")}, r"queries.errors; measured: inf, which is not a count"),
        ({"errors": {"status": "success", "data": {"resultType": "matrix", "result": []}}}, r"measured: a matrix"),
        ({"errors": {"status": "success", "data": {"resultType": "vector", "result": [{"histogram": []}]}}},
         r"queries.errors; measured: HTTP 200 without a number"),
        ({"errors": error("bad_data", "parse error:\n unexpected end")}, r"HTTP 200, bad_data: parse error"),
        ({"errors": "<html>log in</html>"}, r"queries.errors; measured: HTTP 200 without a number"),
        ({"errors": "[]"}, r"HTTP 200 without a number"),
        ({"errors": {"status": "success"}}, r"HTTP 200 without a number"),
    ],
)  # fmt: skip
def test_what_is_no_one_number_is_not_measured(changes, said):
    with pytest.raises(Unmeasured, match=said) as raised:
        traffic(changes)
    assert "\n" not in str(raised.value)
    assert "next: run the query in Prometheus" in str(raised.value)


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (422, error("execution", "many-to-many matching not allowed"), "HTTP 422, execution: many-to-many"),
        (503, error("timeout", "query timed out"), "HTTP 503, timeout: query timed out"),
        (502, "Bad Gateway", "HTTP 502 without a number"),
        (302, "", "HTTP 302 without a number"),
        (401, "", "HTTP 401 without a number"),
    ],
)
def test_an_error_of_http_is_not_measured(status, answer, said):
    with pytest.raises(Unmeasured, match=said):
        traffic(dict.fromkeys(WELL, answer), status)


def test_an_error_whatever_it_says_is_one_short_line():
    with pytest.raises(Unmeasured) as raised:
        traffic({"requests": error("bad_data", "x" * 100_000)})
    assert len(str(raised.value)) < 600


def test_no_answer_is_not_measured_and_no_proxy_is_asked(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert traffic().requests == 1234
    with pytest.raises(
        Unmeasured, match=r"Prometheus did not answer; measured: ConnectError at http://127.0.0.1:\d+/api"
    ):
        source(f"http://127.0.0.1:{free_port()}").traffic(START, END, 200)


@pytest.mark.parametrize("answer", [EMPTY, vector("NaN"), vector("+Inf")])
def test_no_cpu_is_not_measured(answer):
    with answering({"cpu_percent": answer}) as (url, _), pytest.raises(Unmeasured, match=r"queries\.cpu_percent"):
        source(url).cpu_percent(START, END)


@pytest.mark.parametrize(
    ("not_judged", "expected"),
    [({"all_requests"}, (None, None)), ({"all_errors"}, (4936, None)), ({"all_requests", "all_errors"}, (None, None))],
)
def test_the_requests_and_errors_of_both_sides_need_not_be_counted(not_judged, expected):
    found = traffic(queries={name: query for name, query in QUERIES.items() if name not in not_judged})
    assert (found.all_requests, found.all_errors) == expected


@pytest.mark.parametrize(("slow_ms", "written"), [(1500, "1.5"), (200, "0.2"), (2.5, "0.0025"), (1000.0, "1")])
def test_a_bound_is_written_in_seconds(slow_ms, written):
    with answering(dict.fromkeys(WELL, EMPTY), slow=written) as (url, asked):
        source(url).traffic(START, END, slow_ms)
    assert f'le="{written}"' in asked[2][1]["query"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": ""}, r"not valid: url=''; allowed: some text"),
        ({"url": "http://prometheus.example.com"}, r"measured: http to prometheus.example.com; allowed: https"),
        ({"url": "https://me:hunter2@prometheus.example.com"}, r"https, host \S+, with a login, query or frag"),
        ({"url": "https://prometheus.example.com?token=hunter2"}, r"with a login, query or fragment"),
        ({"url": "ftp://prometheus.example.com"}, r"measured: neither http nor https"),
        ({"url": "prometheus:9090"}, r"measured: neither http nor https, host missing"),
        ({"queries": []}, r"not valid: queries=\[\]; allowed: a mapping of names to PromQL"),
        ({"queries": {}}, r"metric_source.queries has no key requests, which is required; allowed: requests, errors,"),
        ({"queries": {**QUERIES, "slwo": "x"}}, r"metric_source.queries has an unknown key slwo; did you mean slow\?"),
        ({"queries": {**QUERIES, "errors": "sum(errors)"}}, r"errors\)'; allowed: PromQL that contains {seconds}"),
        ({"queries": {**QUERIES, "slow": "slow[{seconds}s]"}}, r"PromQL that contains {seconds} and {slow_seconds}"),
        ({"region": "x"}, r"metric_source of kind prometheus has an unknown key region"),
        ({"period_seconds": 15}, r"not valid: period_seconds=15"),
    ],
)  # fmt: skip
def test_settings_that_cant_be_meant_are_refused_in_one_line_without_a_secret(changes, said):
    with pytest.raises(Refused, match=said) as raised:
        source(**changes)
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "metric_source" in str(raised.value)


@pytest.mark.parametrize(
    "url", ["https://prometheus.example.com:9090/mimir/prometheus", "http://[::1]:9090", "http://localhost"]
)
def test_prometheus_may_be_on_this_machine_or_behind_tls(url):
    source(url)
