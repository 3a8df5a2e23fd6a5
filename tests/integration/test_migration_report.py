"""The migration's page, on real databases: at any time, in both languages, and as a browser draws it."""

from __future__ import annotations

import functools
import html
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from by_options import call
from psycopg.types.json import Jsonb
from sides import SIGNED_OFF, Sides
from task_migration.control import journal
from task_migration.errors import Failed, Refused
from task_migration.outcome import Outcome
from task_migration.postgres import database
from task_migration.report import migration_page, migration_report
from task_migration.runtime import configuration, latency
from task_migration.sync import change_log, sync_tables

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NOWHERE = "host=127.0.0.1 port=1 dbname=task_service user=task_service_admin"
CANARY = {"slow": 3, "cpu_percent": 21.5, "sync_forward_ms": 14.0, "sync_backward_ms": None, "confidence_percent": 95}
WIDTHS = (375, 760, 920, 1280)
SECRET = "a title that nobody may read"


class Migration:
    """Both sides, and what the phases of a migration would have left behind."""

    def __init__(self, sides: Sides, directory: Path) -> None:
        self.sides, self.services = sides, directory / "services"
        self.began = datetime.now(UTC) - timedelta(days=35)

    def report(self, **more: Any) -> Outcome:
        return call(
            migration_report.migration_report,
            **{
                "laravel_dsn": self.sides.laravel_dsn,
                "task_service_dsn": self.sides.task_service_dsn,
                "migration_environment": "staging",
                "service_directory": str(self.services),
                "quarantine_signed_off": SIGNED_OFF,
                "report_directory": str(self.sides.reports),
                "aws_region": "ap-northeast-1",
                "laravel_timezone": "Asia/Tokyo",
                "schedule_begins": f"{self.began:%Y-%m-%d}",
                **more,
            },
        )

    def page(self, **more: Any) -> str:
        return Path(self.report(**more).details["report"]).read_text(encoding="utf-8")

    def facts(self) -> dict[str, Any]:
        return json.loads(Path(self.report().details["json"]).read_text(encoding="utf-8"))

    def write(self, days: float, phase: str, item: str, result: str, command: str = "", **evidence: Any) -> None:
        """An entry of so many days after the migration began."""
        with database.connect(database.laravel(self.sides.laravel_dsn), "test") as connection:
            journal.ensure(connection)
            connection.execute(
                "INSERT INTO task_migration.journal (at, operator, host, command, phase, item, result, evidence)"
                " VALUES (%s, 'sato', 'ops', %s, %s, %s, %s, %s)",
                (
                    self.began + timedelta(days=days),
                    command or f"ansible-playbook -i ../inventories/production phase-{phase}.yml",
                    *(phase, item, result, Jsonb(evidence)),
                ),
            )

    def weight(self, days: float, before: int, weight: int, cause: str = "", **figures: Any) -> None:
        """One step of the canary: kept, or gone back from because of a cause."""
        self.write(days, "2.4", "phase", "started", weight=weight)
        self.write(days, "2.4", "shift", "done", **{"from": before, "to": weight})
        if cause:
            self.write(days + 0.1, "2.4", "shift", "done", **{"from": weight, "to": before, "by_itself": True})
            self.write(days + 0.1, "2.4", "phase", "failed", weight=weight, cause=cause)
        else:
            self.write(days + 0.3, "2.4", f"weight_{weight}", "done", **CANARY, **figures)
            self.write(days + 0.3, "2.4", "phase", "done", weight=weight)

    def told(self) -> None:
        """The whole story: a failure, a difference that was reconciled, a rollback, and forward again."""
        for days, phase in ((1, "2.1"), (7.5, "2.2"), (14, "2.3")):
            self.write(days, phase, "phase", "started")
            if phase == "2.3":
                self.write(days, phase, "error_rate", "done", requests=5000, errors=2)
            self.write(days + 0.2, phase, "phase", "done")
        cause = "Failed: the canary failed at 25 % after 3 min; measured: error rate: 41 of 801 failed"
        self.weight(28, 0, 5, requests=12003, errors=0, p95_ms=41.2)
        self.weight(29, 5, 25, cause)
        self.write(29.3, "rollback-2.4", "phase", "started", "ansible-playbook rollback-2.4.yml")
        self.write(29.4, "rollback-2.4", "phase", "done", "ansible-playbook rollback-2.4.yml", carried=41)
        self.weight(30, 0, 5, requests=12040, errors=0, p95_ms=44.8)
        self.weight(31, 5, 25, requests=54001, errors=11, p95_ms=62.1)
        self.sides.target("DELETE FROM task_images WHERE id = 20")
        with pytest.raises(Failed):
            self.sides.verify()
        self.sides.reconcile()
        self.write(34, "2.2", "reconcile", "done", "ansible-playbook reconcile.yml", differences=1, reconciled=1)
        self.sides.verify()
        self.sides.laravel("UPDATE tasks SET title = %s WHERE id = 60", SECRET)
        self.conflict()
        for number in range(60):
            at = (self.began + timedelta(days=14.2 + number / 4)).isoformat()
            lags = dict.fromkeys(("p50", "p95", "p99"), None if number % 9 == 4 else 9.0 + number % 7)
            sample = {"at": at, "state": "running", "entries_per_second": 30.0, "pending": 1, "oldest_seconds": 0.1}
            for direction in ("forward", "backward"):
                history = configuration.history_below(self.services) / f"lag-{direction}.jsonl"
                latency.append_sample(history, {**sample, "direction": direction, "lag_ms": lags})

    def conflict(self) -> None:
        image = {"tasks": {"id": 60, "title": SECRET}}
        with database.connect(database.laravel(self.sides.laravel_dsn), "test") as connection:
            sync_tables.make(connection)
            connection.execute(
                "INSERT INTO task_migration.conflict"
                " (unit, key, task_key, winner, laravel_at, task_service_at, winner_image, loser_image, superseded)"
                " VALUES ('task', 60, 60, 'laravel', now(), now(), %s, %s, '[]')",
                (Jsonb(image), Jsonb({"tasks": {"id": 60, "title": "another"}})),
            )


@pytest.fixture
def migration(make_sides, tmp_path) -> Migration:
    """Nothing of ours on either side."""
    return Migration(make_sides(), tmp_path)


@pytest.fixture(scope="module")
def whole(laravel_server, laravel_template, task_service_server, tmp_path_factory) -> Iterator[Migration]:
    """A migration with everything in it, for tests that only look."""
    directory = tmp_path_factory.mktemp("migration_report")
    laravel_server.add_database("migration_report", "laravel", template=laravel_template(150))
    task_service_server.add_database("migration_report", "task_service_admin")
    sides = Sides(
        laravel_server.dsn("migration_report", "task_migrator"),
        laravel_server.dsn("migration_report", "laravel"),
        task_service_server.dsn("migration_report", "task_service_admin"),
        directory / "reports",
    )
    sides.prepare()
    sides.copy()
    story = Migration(sides, directory)
    story.told()
    yield story
    laravel_server.drop_database("migration_report")
    task_service_server.drop_database("migration_report")


# At any time


@pytest.mark.parametrize("dsn", ["", NOWHERE])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_before_anything_was_done_the_page_says_so_and_nothing_is_made(migration, dsn, language):
    with psycopg.connect(migration.sides.laravel_dsn) as session:
        outcome = migration.report(task_service_dsn=dsn, report_language=language)
        assert session.execute("SELECT to_regnamespace('task_migration')").fetchone() == (None,)
    assert not outcome.changed
    said = migration_page.words(language)
    page = Path(outcome.details["report"]).read_text()
    for name in (
        "headline_nothing",
        "no_accounting",
        "no_runs",
        "no_weights",
        "no_latency",
        "no_verdicts",
        "no_journal",
    ):
        assert said[name] in page, name
    assert set(outcome.details["criteria"].values()) == {"not measured"}


def test_half_a_migration_shows_the_copy_where_nothing_was_verified(migration):
    tables = {"tasks": {"expected": 148, "copied": 146, "quarantined": 2, "in_flight": 0}}
    migration.write(1, "2.1", "phase", "started")
    assert migration.facts()["runs"][0]["result"] == "interrupted"
    migration.write(1.1, "2.1", "phase", "done", **tables)
    facts = migration.facts()
    assert facts["accounting"]["by"] == "copy"
    assert facts["accounting"]["tables"]["tasks"]["copied"] == 146
    assert "expected 148 = copied 146 + quarantined 2 + in flight 0" in migration.page()


def test_without_a_schedule_the_page_says_so_and_nothing_is_late(migration):
    assert migration_page.words("en")["no_schedule"] in migration.page(schedule_begins="")
    late = migration.page(schedule_begins="2020-01-01")
    assert re.search(r"days late: \d+", late)


def test_a_laravel_that_cannot_be_asked_is_refused_in_one_line(migration):
    with pytest.raises(Refused, match=r"Laravel's database .* cannot be reached"):
        migration.report(laravel_dsn=NOWHERE)


def test_a_journal_that_was_altered_is_told_first(migration):
    migration.write(1, "2.1", "phase", "started")
    migration.write(1.1, "2.1", "phase", "done")
    with psycopg.connect(migration.sides.laravel_dsn) as session:
        session.execute("ALTER TABLE task_migration.journal DISABLE TRIGGER USER")
        session.execute("UPDATE task_migration.journal SET operator = 'nobody' WHERE id = 1")
    assert migration_page.words("en")["journal_broken"].format(id=1) in migration.page()


def test_check_mode_writes_nothing(whole, tmp_path):
    reports = tmp_path / "none"
    outcome = whole.report(check=True, report_directory=str(reports))
    assert outcome.details["report"] is None
    assert not reports.exists()


def test_what_an_earlier_attempt_left_is_not_this_ones(migration):
    sample = {"at": "2020-01-01T00:00:00+00:00", "state": "running", "entries_per_second": 1.0, "pending": 0}
    sample |= {"oldest_seconds": None, "lag_ms": dict.fromkeys(("p50", "p95", "p99"), 5.0)}
    latency.append_sample(configuration.history_below(migration.services) / "lag-forward.jsonl", sample)
    migration.write(1, "2.1", "phase", "started")
    assert migration.facts()["sync"]["over_time"] == {}


# The whole story


def test_the_json_holds_what_the_page_says(whole):
    facts = whole.facts()
    assert [(one["weight"], one["why"]) for one in facts["weights"]] == [
        *((5, "shift"), (25, "shift"), (5, "by_itself"), (0, "rollback"), (5, "shift"), (25, "shift")),
    ]
    assert facts["operators"] == ["sato@ops"]
    ended, late = (
        {one["phase"] for one in facts["schedule"] if one["ended"]},
        {one["phase"] for one in facts["schedule"] if one["off_days"] > 0},
    )
    assert (ended, late) == ({"2.1", "2.2", "2.3"}, {"2.4"})
    assert {one["id"]: one["state"] for one in facts["risks"]} == {
        "users_without_cognito": "not held",
        "tags": "held",
        "program": "not held",
        **dict.fromkeys(("dual_write", "database_down"), "not measured"),
    }
    assert {one["id"]: one["state"] for one in facts["criteria"]} == {
        **dict.fromkeys(("counts", "content", "tags", "p95", "sync_time", "cpu", "uptime", "error_rate"), "met"),
        "downtime": "not measured",
    }
    for one in facts["accounting"]["tables"].values():
        assert one["expected"] == one["copied"] + one["quarantined"] + one["in_flight"]
    red, green = facts["verdicts"]
    assert (red["passed"], red["differences"], green["passed"], green["differences"]) == (False, 1, True, 0)
    assert [(one["table"], one["key"], one["kind"]) for one in red["named"]] == [("task_images", 20, "missing")]
    assert [one["evidence"] for one in facts["reconciled"]] == [{"differences": 1, "reconciled": 1}]
    assert facts["sync"]["conflicts"]["newest"][0]["differing"] == ["tasks.title"]
    assert len(facts["journal"]) == facts["status"]["journal"]["entries"]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_loads_nothing_runs_nothing_and_shows_no_rows_content(whole, language):
    outcome = whole.report(report_language=language)
    page, facts = (Path(outcome.details[name]).read_text() for name in ("report", "json"))
    assert f'<html lang="{language}">' in page
    assert SECRET not in page + facts
    assert not re.search(r"<script|<link|<img|@import|url\(|src=|https?://(?!www\.w3\.org)", page)
    beside = set(re.findall(r'href="([^"#][^"]*)"', page))
    assert {"consistency-latest.md", "consistency-latest.json"} <= beside
    assert all((whole.sides.reports / name).exists() for name in beside)


def test_the_plans_words_stand_in_the_japanese_page(whole):
    page = whole.page(report_language="ja")
    for word in (
        "整合性レポート",
        "同期ログ",
        "完了レポート",
        "レコード数一致確認",
        "データベースCPU使用率",
        "切り替え",
        "並行運用",
        "Laravel コード削除完了",
        "Multi-AZ構成 + 自動フェイルオーバー",
        "影響度",
    ):
        assert word in page, word


def test_each_language_has_a_newest_page_and_both_share_the_json(whole):
    pages = {language: whole.page(report_language=language) for language in ("en", "ja")}
    for language, page in pages.items():
        assert len(page) == len((whole.sides.reports / f"migration-latest.{language}.html").read_text())
    assert json.loads((whole.sides.reports / "migration-latest.json").read_text())["environment"] == "staging"


def test_to_look_leaves_no_trace_in_either_database(whole):
    def counts() -> list[Any]:
        ours = (
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_all_tables"
            " WHERE schemaname IN ('public', 'task_migration')"
        )
        with database.connect(database.laravel(whole.sides.laravel_dsn), "test") as connection:
            length = change_log.length(connection)
        return [length, sorted(whole.sides.ours(ours)), sorted(whole.sides.target(ours))]

    before = counts()
    whole.report()
    assert counts() == before


# As a browser draws it


MEASURE = """<!DOCTYPE html><body>%s<script>
addEventListener("load", () => {
  const seen = (one) => one.getClientRects().length > 0;
  const number = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => number(colour).slice(0, 3).map((one) => one / 255)
    .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const contrast = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  const found = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, view = frame.contentWindow, width = page.documentElement.clientWidth;
    const all = [...page.body.querySelectorAll("*")].filter(seen);
    const words = all.filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
    const size = (one) => parseFloat(view.getComputedStyle(one).fontSize) *
      (one.ownerSVGElement ? one.getScreenCTM().a : 1);
    const ground = (one) => {
      for (let at = one; at; at = at.parentElement) {
        const colour = view.getComputedStyle(at).backgroundColor;
        if (number(colour).length === 3) return colour;
      }
    };
    const ink = (one) => view.getComputedStyle(one)[one.ownerSVGElement ? "fill" : "color"];
    const touching = [...page.querySelectorAll("svg")].filter(seen).flatMap((picture) => {
      const boxes = [...picture.querySelectorAll("text")].map((one) => [one.textContent, one.getBBox()]);
      return boxes.flatMap(([text, box], place) => boxes.slice(place + 1)
        .filter(([, next]) => box.x < next.x + next.width && next.x < box.x + box.width &&
          box.y + 3 < next.y + next.height - 3 && next.y + 3 < box.y + box.height - 3)
        .map(([other]) => text + " / " + other));
    });
    return {
      page: frame.title, width, scrollWidth: page.documentElement.scrollWidth, ground: ground(page.body),
      beyond: all.filter((one) => one.getBoundingClientRect().right > width + 1)
        .map((one) => one.outerHTML.slice(0, 90)),
      smallest: Math.min(...words.map(size)), touching,
      faint: words.filter((one) => contrast(light(ink(one)), light(ground(one))) < 4.5)
        .map((one) => one.outerHTML.slice(0, 90)),
      pictures: [...page.querySelectorAll("svg")].filter(seen).length,
    };
  });
  document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium fonts-noto-cjk")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it_readable_at_every_width_in_both_languages(whole, migration, tmp_path, scheme):
    folder = tmp_path / "pages"
    folder.mkdir()
    pages = {"nothing ja": (migration.page(report_language="ja"), WIDTHS[:1])}
    pages |= {f"whole {language}": (whole.page(report_language=language), WIDTHS) for language in ("en", "ja")}
    frames = []
    for name, (page, widths) in pages.items():
        (folder / f"{name}.html").write_text(page)
        frames += [f'<iframe title="{name} {width}" src="{name}.html" width="{width}"></iframe>' for width in widths]
    (folder / "measure.html").write_text(MEASURE % "".join(frames))
    with served(folder) as address:
        shown, said = browsed(f"{address}/measure.html", tmp_path / "browser", scheme)
    assert "CONSOLE" not in said
    found = json.loads(html.unescape(re.search(r"FOUND(.*)END", shown, re.DOTALL)[1]))
    assert len(found) == len(frames)
    for page in found:
        where = f"{page['page']}, {scheme}"
        assert page["scrollWidth"] <= page["width"], where
        assert page["beyond"] == [], where
        assert page["touching"] == [], where
        assert page["faint"] == [], where
        assert page["smallest"] >= 11, where
        assert bool(page["pictures"]) == ("whole" in page["page"]), where
        assert page["ground"] == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 29)"}[scheme], where


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The files of a folder on a free port of the loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def browsed(address: str, home: Path, scheme: str) -> tuple[str, str]:
    """What the browser's page holds in the end, and what the browser said about it."""
    assert CHROMIUM
    command = [
        *(
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1400,1000",
        ),
        *(f"--user-data-dir={home}", "--enable-logging=stderr", "--no-first-run", "--disable-background-networking"),
        f"--blink-settings=preferredColorScheme={ {'dark': 0, 'light': 1}[scheme] }",
        *("--dump-dom", address),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "HOME": str(home)},
    )
    try:
        return process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
