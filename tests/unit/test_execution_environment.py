"""The image that AWX runs the playbooks in: what ansible-builder makes of its description; nothing in it is stale."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
BUILDER = Path(sys.executable).parent / "ansible-builder"
DESCRIPTION = PROJECT / "execution-environment.yml"


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """The folder that an image is built from."""
    folder = tmp_path_factory.mktemp("image")
    command = [BUILDER, "create", "--file", DESCRIPTION, "--context", folder, "--output-filename", "Containerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def steps(context):
    """What the build does, one line each, with the lines that go on put together."""
    return (context / "Containerfile").read_text().replace("\\\n", " ").splitlines()


def test_the_image_gets_the_projects_own_requirements(context):
    assert (context / "_build/requirements.txt").read_text() == (PROJECT / "requirements.txt").read_text()


def test_ansible_is_in_the_series_that_the_project_is_tested_with(steps):
    requirements = (PROJECT / "requirements.txt").read_text().splitlines()
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (core,) = [line for line in requirements if line.startswith("ansible-core")]
    (runner,) = [line for line in extras["dev"] if line.startswith("ansible-runner")]
    assert f'ARG ANSIBLE_INSTALL_REFS="{core} {runner}"' in steps


def test_the_interpreter_is_one_that_the_project_takes(steps):
    (version,) = [line for step in steps for line in re.findall(r'^ARG PYPKG="python3\.(\d+)"', step)]
    assert int(version) >= 11


def test_terraform_is_pinned_and_its_checksum_is_looked_at_before_it_is_unpacked(steps):
    arguments = dict(re.findall(r"^ARG (TERRAFORM_\w+)=(\S+)$", "\n".join(steps), re.MULTILINE))
    major, minor, _ = map(int, arguments["TERRAFORM_VERSION"].split("."))
    assert (major, minor) >= (1, 10)
    assert re.fullmatch(r"[0-9a-f]{64}", arguments["TERRAFORM_SHA256"])
    (install,) = [step for step in steps if "releases.hashicorp.com" in step]
    assert 0 < install.index("sha256sum -c") < install.index("unzip")


def test_the_integration_checks_the_terraform_that_the_image_holds(steps):
    workflow = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())
    used = [step for job in workflow["jobs"].values() for step in job["steps"]]
    terraform = {one["with"]["terraform_version"] for one in used if "setup-terraform@" in one.get("uses", "")}
    assert terraform == {version for step in steps for version in re.findall(r"^ARG TERRAFORM_VERSION=(.*)", step)}


def test_the_project_is_found_where_awx_puts_it_and_is_not_in_the_image(context, steps):
    assert [step for step in steps if "/runner/project/scripts" in step and "task_migration.pth" in step]
    assert not [file for file in context.rglob("*") if "task_migration" in file.name]
    assert "ENV ORIGINAL_STDOUT_CALLBACK=task_service.migration.operator" in steps
