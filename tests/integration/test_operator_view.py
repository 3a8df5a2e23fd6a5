"""The operator's view of a run: as a runbook, in a log and at a terminal; not with -v, nor with another callback."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from ansible_collections.task_service.migration.plugins.callback import operator

BIN = Path(sys.executable).parent
PROJECT = Path(__file__).parents[2]
PLAY = """
- name: "Phase 9, made up: a play"
  hosts: localhost
  gather_facts: false
  vars: {{migration_environment: {environment}}}
  tasks:
    - name: Look whether nothing is known
      task_service.migration.schedule_gate: {{laravel_timezone: UTC, phase: "2.1"}}
      register: looked
    - name: Skipped
      task_service.migration.schedule_gate: {{laravel_timezone: UTC, phase: "2.1"}}
      when: false
    - name: A note
      ansible.builtin.debug: {{msg: "{note}"}}
    - name: Quiet
      ansible.builtin.set_fact: {{x: 1}}
{more}
"""
FAILS = """
    - block:
        - name: Go there
          task_service.migration.schedule_gate: {laravel_timezone: UTC, phase: "2.1", schedule_begins: never}
      rescue:
        - name: Fail with the first cause
          ansible.builtin.fail: {msg: "Phase 9 stopped: {{ ansible_failed_result.msg }}; then: this.yml goes on"}
"""


@pytest.fixture
def play(tmp_path):
    """Runs a play as an operator does; with ``columns`` at a terminal of that width."""

    def run(*words, more="", note="Next: ansible-playbook status.yml", environment="local", columns=0, **variables):
        path = tmp_path / "play.yml"
        path.write_text(PLAY.format(more=more, note=note, environment=environment))
        command = [str(BIN / "ansible-playbook"), str(path), "-i", "localhost,", "-c", "local", *words]
        given = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **variables}
        given.pop("COLUMNS", None)  # where it is set, it counts for more than the terminal
        if columns:
            return at_terminal(command, given, columns)
        done = subprocess.run(command, cwd=PROJECT, env=given, capture_output=True, text=True, check=False)
        return done.stdout, done.returncode

    return run


def at_terminal(command, environment, columns):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            shown += part
        code = process.wait(60)
    os.close(ours)
    return shown.decode(), code


def test_steps_are_numbered_as_they_run_with_what_they_said_and_the_next_command_at_the_end(play):
    said, code = play()
    assert code == 0
    lines = said.splitlines()
    assert lines[1] == "Phase 9, made up: a play"
    assert lines[2].startswith("local, ")
    assert lines[4] == "  1. ok: Look whether nothing is known"
    assert lines[5] == "     schedule: none (schedule_begins is empty)"
    assert not any(word in said for word in ("Skipped", "A note", "Quiet", "PLAY", "TASK", "\x1b"))
    assert re.fullmatch(r"Done in \d+ s: 1 step, nothing changed\.", lines[-3])
    assert lines[-2] == "Next: ansible-playbook status.yml"
    assert re.fullmatch(r"localhost : ok=3 changed=0 unreachable=0 failed=0", lines[-1])


def test_a_note_is_shown_and_what_it_says_is_next_waits_for_the_end(play):
    said, _ = play(note="All is as it was. Next: ansible-playbook phase-2.1-prepare.yml begins anew")
    assert "     All is as it was.\n" in said
    assert said.splitlines()[-2] == "Next: ansible-playbook phase-2.1-prepare.yml (begins anew)"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "ansible-playbook a.yml -e x=1 goes on, ansible-playbook b.yml goes back",
            "ansible-playbook a.yml -e x=1 (goes on)",
        ),
        ("0 % goes there now, ansible-playbook b.yml goes back", "ansible-playbook b.yml (goes back)"),
        ("ansible-playbook a.yml (open: the report)", ""),
        ("ansible-playbook a.yml -e x=1 -e y=2 (open: the report)", ""),
        ("ansible-playbook a.yml -e x=1 -e y=2", ""),
        ("somebody else types ansible-playbook a.yml -e p=1, and you: ansible-playbook b.yml", ""),
        ("correct schedule_begins in the inventory", ""),
    ],
)
def test_what_is_next_can_be_copied_unless_somebody_else_is_to_type_it(said, line):
    assert operator.to_type(said) == (line or said)


def test_an_error_is_one_line_and_the_way_out_stands_alone(play):
    said, code = play(more=FAILS)
    assert code == 2
    failed = [line for line in said.splitlines() if "failed: " in line]
    assert len(failed) == 2
    assert failed[0].startswith("  2. failed: Go there: ")
    assert failed[1].startswith("     failed: Fail with the first cause: Phase 9 stopped: ")
    assert said.splitlines()[-2] == "Next: correct schedule_begins in the inventory"
    assert "Refused at step 2, after" in said.splitlines()[-3]
    assert "Traceback" not in said


def test_production_stands_out_and_check_mode_says_that_it_changes_nothing(play):
    said, _ = play("--check", environment="production", ANSIBLE_FORCE_COLOR="1")
    assert re.search(r"\x1b\[[0-9;]*mPRODUCTION, ", said)
    assert "--check: it looks and predicts, and changes nothing" in said


@pytest.mark.parametrize("columns", [60, 120])
def test_at_a_terminal_nothing_is_wider_than_it_and_the_step_at_work_is_shown(play, columns):
    said, code = play(columns=columns, note="a word " * 40)
    assert code == 0
    assert "1. Look whether nothing is known ..." in said
    shown = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line.rpartition("\r")[2]) for line in said.split("\r\n")]
    assert max(map(len, shown)) < columns
    notes = [line for line in shown if "a word" in line]
    assert notes[0].startswith("     a word")
    assert all(line.startswith(("       a", "       w")) for line in notes[1:])


def test_with_v_and_with_another_callback_it_is_ansibles_own_view(play):
    for said, _ in (play("-v"), play(ANSIBLE_STDOUT_CALLBACK="default")):
        assert "PLAY [Phase 9, made up: a play]" in said
        assert "TASK [Look whether nothing is known]" in said
        assert "PLAY RECAP" in said
        assert "  1. ok" not in said
