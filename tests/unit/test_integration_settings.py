"""The continuous integration and the hooks of a commit: what they run, and that nobody else can change it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKFLOW = PROJECT / ".github/workflows/ci.yml"
HOOKS = PROJECT / ".pre-commit-config.yaml"
# In YAML `on` is true.
WHEN = True


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load(WORKFLOW.read_text())


@pytest.fixture(scope="module")
def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(scope="module")
def hooks():
    (repository,) = yaml.safe_load(HOOKS.read_text())["repos"]
    assert repository["repo"] == "local"
    return {hook["id"]: hook for hook in repository["hooks"]}


# Continuous integration


def test_the_workflow_has_githubs_form():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_by_its_commit_and_says_which_version_that_is():
    used = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


def test_it_may_read_the_project_and_nothing_else(workflow, steps):
    assert workflow["permissions"] == {"contents": "read"}
    assert not [job for job in workflow["jobs"].values() if "permissions" in job]
    assert "secrets." not in WORKFLOW.read_text()
    assert set(workflow[WHEN]) == {"push", "pull_request"}
    assert all(one["with"]["persist-credentials"] is False for one in steps if "checkout@" in one.get("uses", ""))


def test_no_step_puts_what_somebody_else_wrote_into_a_shell(steps):
    assert not [step for step in steps if "${{" in step.get("run", "")]


def test_every_job_ends(workflow):
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_it_runs_every_check_on_the_oldest_python_that_the_project_takes_and_on_a_newer_one(workflow):
    oldest = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    (job,) = [one for one in workflow["jobs"].values() if any(s.get("run") == "./.ci/run" for s in one["steps"])]
    versions = job["strategy"]["matrix"]["python"]
    assert versions[0] == oldest
    assert len(versions) > 1
    assert job["env"]["PYTHON"] == "python${{ matrix.python }}"


def test_every_script_of_a_step_can_be_read(steps):
    for script in [step["run"] for step in steps if "run" in step]:
        subprocess.run(["bash", "-n", "-c", script], check=True)


# Hooks


def test_every_hook_is_local_and_its_tool_is_one_of_the_project(hooks):
    for hook in hooks.values():
        assert hook["language"] == "system"
        tool = hook["entry"].split()[0]
        assert (BIN / tool).exists() or shutil.which(tool), tool


def test_what_scripts_test_checks_a_hook_checks_too(hooks):
    entries = [hook["entry"].split() for hook in hooks.values()]
    tools = {" ".join(words[:number]) for words in entries for number in (1, 2)}
    script = (PROJECT / "scripts/test").read_text()
    checks = re.findall(r"^step ((?!pytest)\S+(?: check| format| fmt)?)", script, re.MULTILINE)
    assert len(checks) > 4
    assert set(checks) <= tools


def test_pre_commit_takes_the_file():
    done = subprocess.run([BIN / "pre-commit", "validate-config", HOOKS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture(scope="module")
def found(hooks, tmp_path_factory):
    """Has the hook look at a text; whether it found a secret."""
    folder = tmp_path_factory.mktemp("commit")

    def go(text):
        file = folder / "inventory.yml"
        file.write_text(text)
        words = [word.strip("'") for word in hooks["secrets"]["entry"].split()]
        return subprocess.run([BIN / words[0], *words[1:], file], capture_output=True, check=False).returncode == 1

    return go


@pytest.mark.parametrize(
    "text",
    [
        "laravel_dsn: postgresql://task_migrator:" + "hunter2-and-more@db/laravel\n",
        "aws_access_key_id: AKIA" + "Z7QXJ3MNVB5KLWPD\n",
        "-----BEGIN RSA PRIVATE " + "KEY-----\n",
        'password: "' + 'Tr0ub4dor-and-3"\n',
    ],
)
def test_a_secret_is_not_committed(found, text):
    assert found(text)


def test_a_passfile_is_no_secret(found):
    assert not found((PROJECT / "inventories/production/group_vars/all.yml").read_text())


# Navigator


@pytest.fixture(scope="module")
def navigator(tmp_path_factory):
    """The settings as ansible-navigator itself reads them in the project's root."""
    log = tmp_path_factory.mktemp("navigator") / "log"
    done = subprocess.run(
        [BIN / "ansible-navigator", "settings", "--effective", "--mode", "stdout"],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_NAVIGATOR_LOG_FILE": str(log)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return yaml.safe_load(done.stdout)["ansible-navigator"]


def test_navigator_runs_on_this_machine_and_keeps_nothing(navigator):
    assert navigator["execution-environment"]["enabled"] is False
    assert navigator["playbook-artifact"]["enable"] is False
    assert navigator["ansible"]["inventory"]["entries"] == [str(PROJECT / "inventories/local")]


def test_what_navigator_logs_is_not_committed():
    log = yaml.safe_load((PROJECT / "ansible-navigator.yml").read_text())["ansible-navigator"]["logging"]["file"]
    assert subprocess.run(["git", "check-ignore", "-q", log], cwd=PROJECT, check=False).returncode == 0
