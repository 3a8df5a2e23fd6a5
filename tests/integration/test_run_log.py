"""The lines that ansible-playbook itself leaves behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from task_migration.control import run_log

BIN = Path(sys.executable).parent
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {report_directory: "{{ playbook_dir }}/reports"}
  tasks:
    - name: A look
      task_service.migration.check_inputs: {playbook: nothing}
      no_log: "{{ secret | default(false) | bool }}"
      ignore_errors: true
    - name: Left out
      task_service.migration.operator_lock: {laravel_dsn: "host=x", command: nothing}
      when: false
    - name: None of ours
      ansible.builtin.debug: {msg: nothing}
    - name: Wait
      ansible.builtin.pause: {seconds: "{{ seconds | default(0) }}"}
    - name: Fail
      ansible.builtin.fail: {msg: "password={{ db_password | default('') }}, told as {{ db_password | default('') }}"}
"""


@pytest.fixture
def command(tmp_path):
    """What to type to run the playbook; it says why with its exit code, and looks at nothing outside its folder."""
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    return [BIN / "ansible-playbook", "-i", "localhost,", tmp_path / "play.yml"]


@pytest.fixture
def typed(command, project):
    def run(*words, **environment):
        said = {**os.environ, "ANSIBLE_CONFIG": str(project / "ansible.cfg"), **environment}
        return subprocess.run([*command, *words], env=said, capture_output=True, text=True, check=False)

    return run


def lines(folder):
    return [json.loads(line) for line in (folder / "reports" / run_log.FILE).read_text().splitlines()]


def test_each_step_of_ours_and_each_failure_is_a_line_between_a_beginning_and_an_end(typed, tmp_path):
    assert typed("--check").returncode == 2
    begin, *steps, end = lines(tmp_path)
    assert (begin["event"], begin["playbook"], begin["check"]) == ("begin", "play", True)
    assert [(step["task"], step["module"], step["result"], step["check"]) for step in steps] == [
        ("A look", "check_inputs", "failed", True),
        ("Left out", "operator_lock", "skipped", True),
        ("Fail", "ansible.builtin.fail", "failed", True),
    ]
    assert (end["event"], end["result"], end["counts"]["failures"]) == ("end", "failed", 1)


def test_no_secret_that_was_typed_reaches_a_line(typed, tmp_path):
    secrets = {"db_password": 'hunter "two" or \'three', "laravel_dsn": "host=x password=swordfish", "secret": True}
    assert (
        typed("-e", json.dumps(secrets), "-e", "ansible_become_pass=tiger", "-e", "api_token=leopard").returncode == 2
    )
    text = (tmp_path / "reports" / run_log.FILE).read_text()
    for secret in ("hunter", "three", "swordfish", "tiger", "leopard"):
        assert secret not in text
    assert "told as" in text
    assert lines(tmp_path)[1]["message"].startswith("the output has been hidden")


def test_where_nothing_can_be_written_it_is_told_once_and_the_playbook_goes_on(typed, tmp_path):
    (tmp_path / "reports").write_text("a file, not a folder")
    ran = typed()
    assert ran.returncode == 2
    assert ran.stderr.count("no longer recorded in runs.jsonl") == 1
    assert "failed: Fail: " in ran.stdout


def test_an_inventory_that_names_no_folder_is_no_error_here(typed):
    ran = typed("-e", "report_directory=")
    assert ran.returncode == 2
    assert "runs.jsonl" not in ran.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_or_interrupted_has_no_end(command, project, tmp_path, how):
    environment = {**os.environ, "ANSIBLE_CONFIG": str(project / "ansible.cfg")}
    with subprocess.Popen(
        [*command, "-e", "seconds=60"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        deadline = time.monotonic() + 30
        while not run_log.runs(tmp_path / "reports") or not run_log.runs(tmp_path / "reports")[0].last_step:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert run_log.runs(tmp_path / "reports")[0].state == "running"
        workers = psutil.Process(run.pid).children(recursive=True)
        while run.poll() is None:  # as an impatient hand does: Ansible loses an interrupt now and then
            assert time.monotonic() < deadline + 30
            run.send_signal(how)
            time.sleep(1)
    for worker in workers:  # a worker does not end with a run that is killed
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    (left,) = run_log.runs(tmp_path / "reports")
    assert (left.state, left.ended) == ("killed", None)
