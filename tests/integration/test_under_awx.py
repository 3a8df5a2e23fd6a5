"""A job as AWX runs it: ansible-runner, the inventory as a script in a place of its own, what AWX adds by itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from task_migration.control import run_log

BIN = Path(sys.executable).parent
# What AWX hands over with every job, and with one of a workflow.
ADDED = {
    f"{who}_{name}": value
    for who in ("awx", "tower")
    for name, value in {
        "job_id": 71,
        "job_template_id": 8,
        "job_template_name": "x",
        "job_launch_type": "workflow",
        "user_id": 3,
        "user_name": "anna",
        "user_email": "anna@example.com",
        "user_first_name": "Anna",
        "inventory_id": 2,
        "inventory_name": "task-migration",
        "project_revision": "573067e",
        "parent_job": None,
        "workflow_job_id": 70,
        "workflow_job_name": "x",
        "workflow_job_launch_type": "manual",
    }.items()
}


@pytest.fixture
def launched(project, tmp_path):
    """Launches the job template of that playbook; its exit code and what it showed."""

    def go(environment, playbook):
        asset = json.loads((project / f"extensions/awx/{environment}.json").read_text())
        (template,) = [one for one in asset["job_templates"] if one["playbook"] == playbook]
        told = json.loads(template["extra_vars"])
        # In the image the project is at /runner/project and the folder that outlives a job at /var/lib/task_migration.
        told["inventory_dir"] = told["inventory_dir"].replace("/runner/project", str(project))
        told = {name: value.replace("/var/lib/task_migration", str(tmp_path)) for name, value in told.items()}
        inventory = subprocess.run(
            [BIN / "ansible-inventory", "-i", f"inventories/{environment}/hosts.yml", "--list", "--export"],
            cwd=project,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name, text in (
            ("inventory/hosts", f"#! {sys.executable}\nprint({inventory!r})\n"),
            ("env/extravars", json.dumps({**ADDED, **told})),
            ("env/envvars", json.dumps({"ORIGINAL_STDOUT_CALLBACK": "task_service.migration.operator"})),
        ):
            (tmp_path / "job" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "job" / name).write_text(text)
        (tmp_path / "job/inventory/hosts").chmod(0o700)
        command = [BIN / "ansible-runner", "run", tmp_path / "job", "--project-dir", project, "-p", playbook]
        done = subprocess.run(
            command,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "LOGNAME": "awx"},
            capture_output=True,
            text=True,
            check=False,
        )
        events = [json.loads(file.read_text()) for file in (tmp_path / "job").glob("artifacts/*/job_events/*.json")]
        shown = "".join(event["stdout"] + "\n" for event in sorted(events, key=lambda event: event["counter"]))
        return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", shown)

    return go


def test_the_inventory_arrives_whole_and_whoever_launched_it_is_written_down(launched, tmp_path):
    code, shown = launched("production", "playbooks/break-glass.yml")
    assert code != 0
    assert "PRODUCTION, anna@" in shown
    assert "break-glass on production, with rehearsal_directory, report_directory from the command line" in shown
    assert "gateway_rest_api_id" in shown
    lines = [json.loads(line) for line in (tmp_path / "production/reports" / run_log.FILE).read_text().splitlines()]
    assert (lines[0]["playbook"], lines[0]["operator"]) == ("break-glass", "anna")
