"""The migration's page, by the documented command."""

from __future__ import annotations

import json

import psycopg


def test_the_page_may_be_made_before_anything_was_done(fresh):
    ran = fresh.must("report.yml")
    assert ran.changed == 0
    assert {"migration-latest.en.html", "migration-latest.json"} <= fresh.reports()
    facts = json.loads((fresh.folder / "reports/migration-latest.json").read_text())
    assert facts["status"]["next"]["command"] == "ansible-playbook phase-2.1-prepare.yml"


def test_the_page_tells_in_japanese_what_reconcile_mended(prepared):
    with psycopg.connect(prepared.endpoints()["task_service_dsn"]) as session:
        session.execute("DELETE FROM task_images WHERE id = 20")
    prepared.must("reconcile.yml")
    prepared.must("report.yml", "-e", "report_language=ja")
    assert "reconcile による修復" in (prepared.folder / "reports/migration-latest.ja.html").read_text()
    facts = json.loads((prepared.folder / "reports/migration-latest.json").read_text())
    assert facts["reconciled"][-1]["evidence"] == {"differences": 1, "reconciled": 1}


def test_check_mode_writes_no_page(prepared):
    before = prepared.reports()
    prepared.must("report.yml", "--check")
    assert {name for name in prepared.reports() - before if name.startswith("migration-")} == set()
