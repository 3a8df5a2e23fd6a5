"""The action plugin, run as ansible-playbook runs it, with a core function of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
from ansible_collections.task_service.migration.plugins.action.run_core import argument_spec, secrets_in

BIN = Path(sys.executable).parent
MODULES = "ansible_collections.task_service.migration.plugins.modules"


@pytest.fixture
def run(project, tmp_path):
    """Runs one task whose core function is replaced by ``body``; what was printed, and the exit code.

    ``options`` are those that the task names beside the usual ones, None for one that it leaves out; ``inventory`` are
    the variables of the inventory.
    """

    def go(body, *words, task="", module="drain", inventory=(), **options):
        usual = {
            "laravel_dsn": "host=127.0.0.1 password=hunter2",
            "task_service_dsn": "host=127.0.0.1",
            "laravel_timezone": "UTC",
            "s3_bucket": "b",
        }
        options = {**(usual if module == "drain" else {}), **options}
        options = {name: value for name, value in options.items() if value is not None}
        core, _, verb = import_module(f"{MODULES}.{module}").CORE_FUNCTION.rpartition(".")
        (tmp_path / "sitecustomize.py").write_text(
            "import sys, types\n"
            "from task_migration.errors import Failed, Refused\n"
            "from task_migration.outcome import Outcome\n"
            "from task_migration.progress import Progress\n"
            f"def {verb}(*, check=False, listener=None, laravel_dsn='', laravel_timezone='', **options):\n"
            + textwrap.indent(textwrap.dedent(body), "    ")
            + f"\nfake = types.ModuleType({core!r})\n"
            f"fake.{verb} = {verb}\n"
            f"sys.modules[{core!r}] = fake\n"
        )
        play = [
            {
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "tasks": [{"name": "Step", f"task_service.migration.{module}": options, **json.loads(task or "{}")}],
            }
        ]
        (tmp_path / "play.yml").write_text(json.dumps(play))
        (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"localhost": {}}, "vars": dict(inventory)}}))
        done = subprocess.run(
            [BIN / "ansible-playbook", "-i", tmp_path / "hosts.yml", tmp_path / "play.yml", *words],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr, done.returncode

    return go


def test_an_outcome_is_one_line_and_its_further_lines(run):
    said, code = run("return Outcome(True, 'carried over 3', {}, ('first', 'second'))")
    assert "  1. changed: Step\n     carried over 3\n     first\n     second\n" in said
    assert "changed=1" in said
    assert code == 0


@pytest.mark.parametrize(("kind", "prefix"), [("Refused", "Refused, nothing was changed: "), ("Failed", "Failed: ")])
def test_an_error_of_the_core_is_one_line(run, kind, prefix):
    said, code = run(f"raise {kind}('no room', measured='3 MB', next_step='make room')")
    assert f"failed: Step: {prefix}no room; measured: 3 MB; next: make room\n" in said
    assert said.count("no room") == 1
    assert "Traceback" not in said
    assert code == 2


def test_an_unknown_error_is_one_line_with_its_type_and_a_traceback_only_when_asked_for(run):
    said, code = run("raise KeyError('tasks')")
    assert "failed: Step: Failed: task_service.migration.drain met an error that it does not know" in said
    assert "KeyError: 'tasks'" in said
    assert "Traceback" not in said
    assert code == 2
    said, _ = run("raise KeyError('tasks')", "-vvv")
    assert "Traceback" in said


@pytest.mark.parametrize("verbosity", [(), ("-vvvv",)])
@pytest.mark.parametrize(
    "body", ["return Outcome(False, laravel_dsn, {'dsn': laravel_dsn}, (laravel_dsn,))", "raise KeyError(laravel_dsn)"]
)
def test_a_password_is_never_shown(run, body, verbosity):
    said, _ = run(body, *verbosity)
    assert "hunter2" not in said


def test_check_mode_reaches_the_core(run):
    body = "return Outcome(check, f'check is {check}')"
    assert "  1. would change: Step\n     check is True\n" in run(body, "--check")[0]
    assert "  1. ok: Step\n     check is False\n" in run(body)[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"s3_bucket": None}, "missing required arguments: s3_bucket"),
        ({"s3_bukket": "x"}, "s3_bukket. Supported parameters include"),
        ({"laravel_timezone": {"a": 1}}, None),
    ],
)
def test_options_are_checked_by_the_documentation(run, options, said):
    printed, code = run("return Outcome(False, str(laravel_timezone))", **options)
    if said is None:
        assert code == 0
    else:
        assert "Refused, nothing was changed: task_service.migration.drain was called wrongly" in printed
        assert said in printed
        assert code == 2


# What a task leaves out

BUCKET = "return Outcome(False, f'the bucket is {options[\"s3_bucket\"]!r}')"
ALL = "return Outcome(False, ', '.join(f'{name}={value!r}' for name, value in sorted(options.items())))"


def test_what_a_task_names_wins(run):
    assert "the bucket is 'named'" in run(BUCKET, s3_bucket="named", inventory={"s3_bucket": "the inventory's"})[0]


def test_what_a_task_leaves_out_is_the_inventorys(run):
    said, code = run(BUCKET, s3_bucket=None, inventory={"s3_bucket": "tasks"})
    assert "the bucket is 'tasks'" in said
    assert code == 0


def test_what_is_omitted_is_the_inventorys_too(run):
    said, _ = run(BUCKET, s3_bucket="{{ nothing | default(omit) }}", inventory={"s3_bucket": "tasks"})
    assert "the bucket is 'tasks'" in said


def test_a_value_of_the_inventory_is_templated(run):
    inventory = {"s3_bucket": "{{ place }}-images", "place": "tokyo"}
    assert "the bucket is 'tokyo-images'" in run(BUCKET, s3_bucket=None, inventory=inventory)[0]


def test_what_was_typed_wins_over_the_inventory(run):
    said, _ = run(BUCKET, "-e", "s3_bucket=typed", s3_bucket=None, inventory={"s3_bucket": "tasks"})
    assert "the bucket is 'typed'" in said


def test_a_value_of_the_inventory_is_checked_by_the_documentation(run):
    inventory = {"laravel_dsn": "host=x", "approvals_required": "many", "approval_max_age_hours": 4, "aws_region": "r"}
    named = {"phase": "2.4", "command": "ansible-playbook x.yml", "acts": {}}
    said, code = run(ALL, module="approval_gate", inventory=inventory, **named)
    assert "Refused, nothing was changed: task_service.migration.approval_gate was called wrongly" in said
    assert "approvals_required" in said
    assert code == 2


def test_what_some_playbooks_alone_know_is_named_or_has_its_default(run):
    inventory = {"laravel_timezone": "UTC", "weight": 5, "answer": "yes"}
    said, _ = run(ALL, module="schedule_gate", phase="2.4", inventory=inventory)
    assert "answer='', phase='2.4', schedule_begins='', weight=0" in said


def test_what_the_inventory_lacks_has_the_modules_default(run):
    named = {"phase": "2.4", "laravel_timezone": "UTC"}
    assert "schedule_begins=''" in run(ALL, module="schedule_gate", **named)[0]
    inventory = {"schedule_begins": "2025-12-15"}
    assert "schedule_begins='2025-12-15'" in run(ALL, module="schedule_gate", inventory=inventory, **named)[0]


def test_a_value_that_cannot_be_resolved_is_refused_by_its_name(run):
    said, code = run(BUCKET, s3_bucket=None, inventory={"s3_bucket": "{{ nothing }}"})
    assert "Refused, nothing was changed: the value of s3_bucket cannot be resolved; measured: " in said
    assert "'nothing' is undefined" in said
    assert code == 2


@pytest.mark.parametrize("verbosity", [(), ("-vvvv",)])
@pytest.mark.parametrize(
    ("name", "value"),
    [("laravel_dsn", "host=x password=swordfish"), ("s3_bucket", "postgresql://runbook:swordfish@127.0.0.1/d")],
)
@pytest.mark.parametrize("body", ["return Outcome(False, text, {'dsn': text}, (text,))", "raise KeyError(text)"])
def test_a_password_of_the_inventory_is_never_shown(run, body, name, value, verbosity):
    body = f"text = {{'laravel_dsn': laravel_dsn, **options}}[{name!r}]\n{body}"
    said, _ = run(body, *verbosity, inventory={name: value}, **{name: None})
    assert "Step" in said
    assert "swordfish" not in said


# Progress


def test_progress_is_a_line_for_each_tenth_in_a_log(run):
    said, _ = run(
        """
        for done in range(101):
            listener(Progress('copying', done, 100, 'rows', 1 + done))
        return Outcome(False, 'over')
        """
    )
    assert said.count("  copying: ") == 11
    assert "\r" not in said


def test_progress_is_drawn_again_and_again_in_a_terminal(run, project, tmp_path):
    run("listener(Progress('copying', 50, 100, 'rows', 1.0))\nreturn Outcome(False, 'over')")
    ours, theirs = pty.openpty()
    command = [BIN / "ansible-playbook", "-i", tmp_path / "hosts.yml", tmp_path / "play.yml"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TERM": "xterm"}
    with subprocess.Popen(command, cwd=project, env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(ours, 4096):
                said += piece
    os.close(ours)
    assert b"\r  copying: 50 %, 50 of 100 rows, 50/s, 1 s left\x1b[K\r\x1b[K" in said


def test_what_the_documentation_says_becomes_the_specification():
    options = {"n": {"type": "int", "default": 2, "description": "x"}, "d": {"type": "dict", "suboptions": {"a": {}}}}
    assert argument_spec(options) == {"n": {"type": "int", "default": 2}, "d": {"type": "dict", "options": {"a": {}}}}


def test_passwords_are_found_in_every_form_of_a_connection_string():
    strings = ["host=x password=one", "postgresql://u:two@h/d", "no password here", "host=x", 3]
    assert secrets_in(strings) == {"one", "two"}
