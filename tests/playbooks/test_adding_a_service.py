"""docs/adding-a-service.md, followed word by word: its files are written, its commands are typed."""

from __future__ import annotations

import re
import time

import psycopg
import pytest

FILE = re.compile(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ansible-playbook (.+)$", re.MULTILINE)


@pytest.fixture
def document(project):
    return (project / "docs/adding-a-service.md").read_text()


def test_the_document_moves_a_service_and_takes_it_back(fresh, document, tmp_path):
    for name, content in FILE.findall(document):
        file = tmp_path / "analytics_service" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def type_(command):
        # The ~ after @ is the shell's to read, and none is asked here.
        ran = fresh.type(*command.replace("@~", f"@{tmp_path}").split(), HOME=str(tmp_path))
        assert ran.code == 0, ran.said
        return ran

    def ask(side, query):
        with psycopg.connect(fresh.endpoints()[f"{side}_dsn"], autocommit=True) as session:
            found = session.execute(query)
            return found.fetchall() if found.description else []

    def laravels():
        """Everything there is in Laravel's database."""
        return [thing for thing in fresh.catalog() if not thing.startswith("lab/")]

    checked, prepare, *forth, stop, back = COMMAND.findall(document)
    before = laravels()
    try:
        assert type_(checked).changed
        assert laravels() == before
        type_(prepare)
        assert ask("task_service", "SELECT count(*) FROM task_executions") == [(100,)]
        for command in forth:
            type_(command)
        ask("laravel_app", "UPDATE task_executions SET actual_effort_minutes = 1234 WHERE id = 7")
        deadline = time.monotonic() + 10
        while ask("task_service", "SELECT actual_effort_minutes FROM task_executions WHERE id = 7") != [(1234,)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        forgotten = fresh.type("phase-2.2-verify.yml")
        assert forgotten.code != 0
        assert any("Refused, nothing was changed" in line for line in forgotten.errors), forgotten.said
    finally:
        type_(stop)
        type_(back)
    assert laravels() == before
