"""The watch, and one look at its conditions: a real API to ask, real health endpoints, real databases, and for the
canary API Gateway and CloudWatch, emulated."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import SimpleNamespace

import pytest
from away import away
from by_options import call
from lab.gateway.aws_emulator import AwsEmulator
from moto.cloudwatch.responses import CloudWatchResponse
from published import Published
from stages import LARAVEL, REGION, TASKS, EmulatedStage
from task_migration.canary.api_probe import ApiProbe
from task_migration.canary.dual_write_gate import dual_write_gate
from task_migration.canary.watch import watch
from task_migration.control import consistency_history, journal, operator_lock
from task_migration.control.sync_switch import sync_switch
from task_migration.errors import Failed, Refused
from task_migration.external.aws import Aws
from task_migration.postgres import database
from task_migration.runtime import health_endpoint
from task_migration.runtime.stop_signal import Stop
from task_migration.runtime.sync_status import SyncStatus
from task_migration.sync import capture


@pytest.fixture
def api():
    """An API whose GET /health answers ``status`` with ``content_type`` after ``seconds``, and fails the requests whose
    numbers are in ``fails``."""
    says = SimpleNamespace(status=200, content_type="application/json", seconds=0.0, asked=0, fails=())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            says.asked += 1
            time.sleep(says.seconds)
            status = 500 if says.asked in says.fails else says.status
            self.send_response(status if self.path == "/health" else 404)
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
    vitals = SyncStatus("forward", Stop())
    vitals.become("running")
    with health_endpoint.answering(vitals, 0) as port:
        yield SimpleNamespace(port=port, become=vitals.become)


@pytest.fixture
def dual_write(sides):
    """Sides as phase 2.3 leaves them: the switch on, one consistency check that passed."""
    sync_switch(laravel_dsn=sides.laravel_dsn, name="sync_forward", state="on", reason="test")
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
        "trigger_latency_ms": 2000,  # what this machine happens to be busy with is not what is judged here
    }


@pytest.fixture
def of_both(dual_write):
    """What the watch takes and one look does not."""
    return {"task_service_dsn": dual_write.task_service_dsn, "aws_region": REGION, "metric_source": {}}


@pytest.fixture
def watching(told, of_both):
    """Watches for a moment; the outcome, with the lines that were shown. ``after`` is what happens after a look, by its
    number."""

    def go(after=None, **more):
        shown = []

        def heard(one):
            shown.append(one.note)
            if act := (after or {}).get(len(shown)):
                act()

        quick = {"watch_interval_seconds": 0.8, "watch_seconds": 1.7}
        outcome = call(watch, **{**told, **of_both, **quick, **more}, listener=heard)
        return outcome, shown

    return go


def grades(outcome):
    return {one["name"]: one["grade"] for one in outcome.details["conditions"] if one["grade"] != "fine"}


def test_when_all_is_well_it_watches_until_its_time_is_over_with_a_line_for_each_look(dual_write, watching, api):
    outcome, shown = watching()
    assert not outcome.details["breached"]
    assert grades(outcome) == {}
    assert [one.partition(":")[0] for one in shown] == [f"check {number}" for number in range(1, len(shown) + 1)]
    assert 2 <= len(shown) <= 3
    assert "0 of " in shown[0]
    assert "sync running" in shown[0]
    assert "consistency passed" in shown[0]


def test_what_was_asked_is_written_down_for_the_checklist(dual_write, watching, api):
    outcome, _ = watching(watch_seconds=3)
    with database.connect(database.laravel(dual_write.laravel_dsn), "test") as connection:
        (entry,) = journal.entries(connection, "2.3")
    assert entry.evidence == {"requests": outcome.details["requests"], "errors": 0}
    assert outcome.details["requests"] >= 30


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 500}, "100.0 %"),
        ({"content_type": "text/html"}, "an HTML page"),
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
    api.fails = (10,)
    outcome, _ = watching(watch_interval_seconds=1, watch_seconds=2)
    assert not outcome.details["breached"]
    assert outcome.details["errors"] == 1


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


def test_a_sync_that_waits_for_a_database_has_as_long_as_a_failover_takes(watching, sync):
    def allowed(**more):
        return {one["name"]: one["allowed"] for one in watching(**more)[0].details["conditions"]}["sync"]

    sync.become("reconnecting", "the database fails over")
    assert allowed(task_service_dsn="host=127.0.0.1 port=1 dbname=task_service") == "running again within 180 s"
    assert allowed() == "running again within 60 s"


def test_without_an_address_of_the_api_it_says_unknown_and_never_fine(watching):
    outcome, shown = watching(task_service_url="")
    assert set(grades(outcome).values()) == {"unknown"}
    assert len(grades(outcome)) == 2
    assert "API unknown" in shown[0]


def test_a_switch_that_is_turned_off_meanwhile_ends_the_watch_as_no_fault(dual_write, watching):
    off = {"laravel_dsn": dual_write.laravel_dsn, "name": "sync_forward", "state": "off", "reason": "me"}
    outcome, shown = watching({1: lambda: sync_switch(**off)}, watch_seconds=60)
    assert len(shown) == 2
    assert not outcome.details["breached"]
    assert "turned off" in outcome.message
    assert outcome.message.endswith(": me")
    with pytest.raises(Refused, match=r"nothing to watch.*next: ansible-playbook phase-2\.3-dual-write\.yml"):
        watching()


@pytest.fixture
def alerts(tmp_path):
    """Alerts go to a file: ``alerts.command``, and ``alerts.subjects()``, ``alerts.messages()``."""
    subjects, messages = tmp_path / "subjects", tmp_path / "messages"
    subjects.touch()
    return SimpleNamespace(
        command=["sh", "-c", f'cat >> {messages}; echo >> {messages}; echo "$ALERT_SUBJECT" >> {subjects}'],
        subjects=lambda: subjects.read_text().splitlines(),
        messages=lambda: messages.read_text().splitlines(),
    )


def test_a_breach_while_another_operator_is_at_work_is_told_once_and_ends_the_watch_when_that_one_has(
    dual_write, watching, api, alerts
):
    api.status = 500
    held, ends = threading.Event(), threading.Event()
    for_a_while = (dual_write.laravel_dsn, "phase-2.4-canary", lambda _: not ends.wait(60), held.set)
    operator = threading.Thread(target=operator_lock.hold, args=for_a_while)
    operator.start()
    held.wait()
    outcome, shown = watching({2: ends.set}, watch_seconds=60, alert_command=alerts.command)
    assert not operator.is_alive()
    operator.join()
    assert outcome.details["breached"]
    assert alerts.subjects() == ["Task migration: rollback: red"]
    assert "phase-2.4-canary" in alerts.messages()[0]
    assert "error rate of the Task Service's API: 100.0 %" in alerts.messages()[0]
    told = ["rollback: another operator is running a command" in one for one in shown]
    assert told[:2] == [True, True]
    assert told[-2:] == [False, False]  # it looked once more, for the other may have mended it


def test_while_laravel_is_away_it_looks_on_and_acts_when_it_is_back(
    watching, dual_write, api, sync, alerts, laravel_server
):
    with ExitStack() as absence:

        def leave():
            absence.enter_context(away(laravel_server, dual_write.laravel_dsn))
            api.status = 500
            sync.become("reconnecting", "Laravel's database cannot be reached")

        def come_back():
            absence.close()
            sync.become("running")

        outcome, shown = watching({1: leave, 4: come_back}, watch_seconds=60, alert_command=alerts.command)
    assert "error rate" in outcome.details["cause"]
    assert alerts.subjects().count("Task migration: rollback: red") == 1
    assert "RED rollback: Laravel's database" in "".join(shown)
    assert "cannot be reached" in "".join(shown)


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
    outcome = call(dual_write_gate, **told)
    assert not outcome.changed
    assert (outcome.details["requests"], outcome.details["errors"]) == (20, 0)
    assert len(outcome.lines) == 6
    api.status = 503
    with pytest.raises(Failed, match=r"HTTP 503.*next: ansible-playbook rollback-2\.3\.yml"):
        call(dual_write_gate, **told)


def test_a_change_log_beyond_its_bound_keeps_a_gate_closed(dual_write, told):
    dual_write.laravel("UPDATE tasks SET description = 'written'")
    with pytest.raises(Failed, match="change log"):
        call(dual_write_gate, **told, change_log_max_entries=1)


def test_an_address_without_tls_elsewhere_is_refused():
    with pytest.raises(Refused, match="TLS"):
        ApiProbe("http://tasks.example.com", "", 30)


# The canary


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


class Figures:
    """What CloudWatch holds of one Task Service, every second from ten seconds ago until in a minute."""

    numbers = count(1)

    def __init__(self, url):
        number = f"{next(self.numbers):016x}"
        self.source = {
            "kind": "cloudwatch",
            "api_name": f"tasks-{number}",
            "stage": "lab",
            "resources": ["/api/tasks"],
            "load_balancer": f"app/task-service-lab/{number}",
            "target_group": f"targetgroup/task-service-lab/{number}",
            "db_instance": f"task-service-{number}",
            "period_seconds": 1,
            "delay_seconds": 0,
        }
        self._cloudwatch = Aws(REGION, url).client("cloudwatch")

    def are(self, *, hits, of, errors=0, seconds=range(-10, 60)):
        """So many requests a second come to the Task Service, out of so many."""
        balancer = {"LoadBalancer": self.source["load_balancer"]}
        target = {"TargetGroup": self.source["target_group"], **balancer}
        route = {"ApiName": self.source["api_name"], "Method": "ANY", "Resource": "/api/tasks", "Stage": "lab"}
        instance = {"DBInstanceIdentifier": self.source["db_instance"]}
        self._put("AWS/ApplicationELB", "RequestCount", target, {1.0: hits}, seconds)
        self._put("AWS/ApplicationELB", "TargetResponseTime", target, {0.02: hits}, seconds)
        self._put("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", target, {1.0: errors}, seconds)
        self._put("AWS/ApiGateway", "Count", route, {1.0: of}, seconds)
        self._put("AWS/RDS", "CPUUtilization", instance, {12.0: 1}, seconds)

    def _put(self, namespace, metric, dimensions, values, seconds):
        now = datetime.now(UTC).replace(microsecond=0)
        counted = Counter({value: times for value, times in values.items() if times})
        data = [
            {
                "MetricName": metric,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                "Timestamp": now + timedelta(seconds=second),
                "Values": list(counted),
                "Counts": [float(times) for times in counted.values()],
            }
            for second in seconds
            if counted
        ]
        if data:
            self._cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)


@pytest.fixture
def figures(emulator):
    return Figures(emulator.url)


@pytest.fixture
def stage(emulator):
    return EmulatedStage(emulator)


@pytest.fixture
def moved(dual_write, watching, sync, stage, figures):
    """Watches while a quarter of the traffic goes to the Task Service; ``moved.backward`` is the sync of the way
    back."""
    capture.capture(laravel_dsn="", task_service_dsn=dual_write.task_service_dsn, side="task_service", check=False)
    stage.set(LARAVEL, 25.0)
    shift(dual_write, 25)
    vitals = SyncStatus("backward", Stop())
    vitals.become("running")
    with health_endpoint.answering(vitals, 0) as port:
        options = {
            **stage.arguments,
            "metric_source": figures.source,
            "sync_health_ports": {"forward": sync.port, "backward": port},
            "canary_settle_seconds": -30,  # as if the weight had been set so long ago
            "canary_interval_seconds": 5,
        }
        yield SimpleNamespace(watching=partial(watching, **options), backward=vitals)


def shift(sides, to, phase="2.4", item="shift", result="done"):
    journal.journal(laravel_dsn=sides.laravel_dsn, phase=phase, item=item, result=result, evidence={"to": to})


def rolled_back(outcome):
    return outcome.details["takes_back"]


def test_while_no_traffic_is_moved_all_is_as_without_a_gateway(watching, stage, figures, api):
    options = {**stage.arguments, "metric_source": figures.source}
    outcome, shown = watching(**options)
    # On a busy machine one look may see too few requests to judge the API by.
    assert set(grades(outcome).values()) <= {"unknown"}
    assert not any("canary" in name for name in grades(outcome))
    assert (outcome.details["breached"], rolled_back(outcome)) == (False, "")
    assert all(";" not in one for one in shown)
    api.status = 500
    outcome, _ = watching(**options, watch_seconds=60)
    assert (outcome.details["breached"], rolled_back(outcome)) == (True, "2.3")


def test_good_figures_are_shown_and_a_verdict_that_is_not_there_moves_nobody(moved, figures):
    figures.are(hits=250, of=1000)
    outcome, shown = moved.watching(canary_confidence_percent=5)
    assert not outcome.details["breached"]
    assert grades(outcome) == {"canary: verdict": "warns"}
    assert "25 % to the Task Service at 5 % confidence: 0 of " in shown[0]
    assert "WARNS canary: verdict: nothing has been verified yet" in shown[0]


def test_each_look_is_published_and_a_cloudwatch_that_takes_none_ends_no_watch(dual_write, moved, figures, emulator):
    figures.are(hits=50, of=200, errors=3)
    published = Published(emulator.url, "watched")
    looked, _ = moved.watching(check=True, **published.told)
    assert looked.details["breached"]
    assert published.names() == set()
    with away_cloudwatch():
        outcome, _ = moved.watching(watch_seconds=60, **published.told)
    assert outcome.details["breached"]
    assert published.names() == set()
    outcome, _ = moved.watching(watch_seconds=60, **published.told)
    assert outcome.details["breached"]
    assert published.value("CanaryVerdict", "Minimum") == -1
    assert published.value("CanaryErrorRate", "Maximum") == 6
    assert published.value("CanaryLatencyP95", "Maximum") == 20
    assert published.value("CanaryWeight", "Maximum") == 25
    assert 0 < published.value("ConsistencyAge", "Maximum") < 60
    assert published.value("VerifyVerdict", "Maximum") == 0
    assert published.value("DeadLetters", "Maximum") == 0
    with database.connect(database.laravel(dual_write.laravel_dsn), "test") as connection:
        journal.keep_verdict(connection, {"passed": True, "schema_fingerprint": ""})
    moved.watching(watch_seconds=60, **published.told)
    assert published.value("VerifyVerdict", "Maximum") == 1
    assert 0 < published.value("VerifyVerdictAge", "Maximum") < 60


@contextmanager
def away_cloudwatch():
    """PutMetricData fails while the block runs; what the canary's gate reads is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CloudWatchResponse, "put_metric_data", lambda self: 1 / 0)
        yield


def test_errors_of_the_canary_are_a_breach_at_the_next_look_and_take_the_canary_back_alone(moved, figures):
    figures.are(hits=50, of=200, errors=3)
    outcome, shown = moved.watching(watch_seconds=60)
    assert outcome.details["breached"]
    assert rolled_back(outcome) == "2.4"
    assert outcome.details["cause"].startswith("canary: error rate: ")
    assert len(shown) == 1
    looked, shown = moved.watching(check=True)
    assert (rolled_back(looked), shown) == ("2.4", [])


def test_figures_that_prove_nothing_breach_nothing(moved, figures):
    figures.are(hits=1, of=4)
    outcome, shown = moved.watching()
    assert (outcome.details["breached"], rolled_back(outcome)) == (False, "")
    assert "not proven: canary: error rate, canary: p95, " in shown[0]


def test_figures_of_another_weight_are_none_of_this_one(moved, stage, figures):
    figures.are(hits=50, of=200, errors=3, seconds=range(-10, 1))
    stage.set(LARAVEL, 50.0)  # by hand: nobody knows since when
    outcome, _ = moved.watching(canary_settle_seconds=0)
    assert not outcome.details["breached"]


def test_a_breach_of_the_dual_write_takes_the_canary_back_first(dual_write, moved, figures, stage, api):
    figures.are(hits=250, of=1000)
    keep(dual_write, passed=False)
    assert rolled_back(moved.watching()[0]) == "2.4"
    stage.set(LARAVEL, None)
    shift(dual_write, 0, item="phase", result="failed")
    assert rolled_back(moved.watching()[0]) == "2.4"  # what the Task Service took has not come home for certain
    for result in ("started", "done"):
        shift(dual_write, 0, phase="rollback-2.4", item="phase", result=result)
    assert rolled_back(moved.watching()[0]) == "2.3"


def test_a_way_back_that_does_not_carry_is_a_breach(moved, figures):
    figures.are(hits=250, of=1000)
    moved.backward.become("blocked", "writes would be lost")
    outcome, _ = moved.watching()
    assert "sync backward: blocked: writes would be lost" in outcome.details["cause"]
    assert rolled_back(outcome) == "2.4"


def test_over_users_it_watches_even_if_the_sync_is_off_already(dual_write, moved, figures, stage):
    figures.are(hits=250, of=1000)
    sync_switch(laravel_dsn=dual_write.laravel_dsn, name="sync_forward", state="off", reason="me")
    outcome, shown = moved.watching()
    assert re.search(r"nothing was breached; \d+ s have passed", outcome.message)
    assert "25 % to the Task Service" in shown[0]
    stage.set(LARAVEL, None)
    with pytest.raises(Refused, match="nothing to watch"):
        moved.watching()


def test_a_switch_that_is_turned_off_does_not_end_the_watch_over_users(dual_write, moved, figures):
    figures.are(hits=250, of=1000)
    turn = {"laravel_dsn": dual_write.laravel_dsn, "name": "sync_forward", "state": "off", "reason": "me"}
    after = {1: lambda: sync_switch(**turn), 3: lambda: keep(dual_write, passed=False)}
    outcome, shown = moved.watching(after, watch_seconds=60)
    assert outcome.details["breached"]
    assert "turned off" not in outcome.message
    assert len(shown) == 4


def test_the_end_of_the_migration_ends_the_watch_over_users_as_no_fault(dual_write, moved, figures, stage):
    figures.are(hits=250, of=1000)

    def end():
        journal.journal(laravel_dsn=dual_write.laravel_dsn, phase="2.5", item="no_way_back", result="done")
        sync_switch(laravel_dsn=dual_write.laravel_dsn, name="sync_forward", state="off", reason="phase 2.5")

    outcome, shown = moved.watching({1: end}, watch_seconds=60)
    assert len(shown) == 2
    assert not outcome.details["breached"]
    assert "phase 2.5 started" in outcome.message
    with pytest.raises(Refused, match=r"nothing to watch: phase 2\.5 started.*next: ansible-playbook status\.yml"):
        moved.watching()


def test_aws_that_is_away_is_unknown_and_told_and_what_was_known_last_goes_on(dual_write, moved, figures, tmp_path):
    figures.are(hits=250, of=1000)
    file = tmp_path / "alerts"
    tells = ["sh", "-c", f'echo "$ALERT_SUBJECT" >> {file}']
    looked = threading.Event()
    with AwsEmulator() as leaving:

        def leave():
            looked.wait()
            leaving.stop()
            while not file.exists() or "traffic" not in file.read_text():
                time.sleep(0.05)
            keep(dual_write, passed=False)

        thread = threading.Thread(target=leave)
        thread.start()
        told = {"aws_endpoint_url": leaving.url, "alert_command": tells}
        outcome, shown = moved.watching({1: looked.set}, watch_seconds=60, **told)
        thread.join()
    assert "Task migration: traffic: unknown" in file.read_text().splitlines()
    assert grades(outcome)["traffic"] == "unknown"
    assert "at the last check 25 % went to the Task Service" in shown[-1]
    assert rolled_back(outcome) == "2.4"
    assert "consistency: failed" in outcome.details["cause"]


def test_a_canary_that_is_not_ours_is_unknown_with_its_text(moved, stage):
    stage.set(LARAVEL, None)
    stage.deploy_canary(percentTraffic=10.0)
    outcome, shown = moved.watching()
    assert grades(outcome) == {"traffic": "unknown"}
    assert "has a canary that is not the runbook's" in shown[0]


def test_a_stage_that_was_promoted_is_all_of_the_traffic(moved, stage, figures):
    figures.are(hits=1000, of=1000, errors=60)
    stage.set(TASKS, None)
    outcome, _ = moved.watching()
    assert rolled_back(outcome) == "2.4"
    assert "canary: error rate: " in outcome.details["cause"]
    assert "100 % goes to the Task Service, without a canary" in "".join(outcome.lines)
