"""The committed job templates, taken by AWX's own command: `awx import`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from awx_stand_in import FIELDS, awx

AWX = Path(sys.executable).parent / "awx"
pytestmark = pytest.mark.skipif(sys.version_info >= (3, 12), reason="awxkit asks for distutils")


def taken(told, file):
    """Types `awx import` with the file; what it said."""
    done = subprocess.run(
        [AWX, "--conf.host", told.address, "--conf.token", "sesame", "import"],
        stdin=file.open(),
        env={**os.environ, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def production(project):
    return project / "extensions/awx/production.json"


@pytest.fixture(scope="module")
def imported(production):
    """AWX with what docs/awx.md has made by hand, after the import."""
    with awx() as told:
        told.put("organizations", {"name": "Default"})
        (organization,) = told.things["organizations"]
        told.put("projects", {"name": "task-migration", "organization": organization})
        told.put("execution_environments", {"name": "task-migration"})
        taken(told, production)
        yield told


def test_every_template_knows_its_inventory_its_project_and_its_image(imported, production):
    asked = json.loads(production.read_text())["job_templates"]
    templates = imported.named("job_templates")
    assert templates.keys() == {one["name"] for one in asked}
    assert imported.refused == []
    for one in templates.values():
        assert all(isinstance(one[name], int) for name in ("inventory", "project", "execution_environment")), one


def test_every_field_is_one_that_awx_lets_be_written(production):
    kinds = {"inventory": "inventories"}
    for kind, things in json.loads(production.read_text()).items():
        for thing in things:
            assert thing.keys() - {"related", "natural_key"} <= set(FIELDS[kinds.get(kind, kind)]), thing["name"]


def test_the_survey_is_handed_on(imported):
    templates = imported.named("job_templates")
    (weight,) = [
        one for one in templates["production phase-2.4-canary"]["survey_spec"]["spec"] if one["variable"] == "weight"
    ]
    assert weight["choices"] == ["0", "5", "25", "50", "100"]
    assert "survey_spec" not in templates["production break-glass"]


def test_the_workflows_steps_follow_one_another(imported):
    nodes = imported.things["workflow_job_template_nodes"]
    workflow = imported.named("workflow_job_templates")["production canary"]
    ours = imported.links[workflow["id"], "workflow_nodes"]
    ways = ("success_nodes", "failure_nodes")
    after = {node: [one for way in ways for one in imported.links.get((node, way), [])] for node in ours}
    (at,) = set(ours) - {one for found in after.values() for one in found}
    walked = []
    while at:
        walked.append(nodes[at]["identifier"])
        (at,) = after[at] or [0]
    assert walked == [
        *("weight-5", "approve-25", "weight-25", "approve-50", "weight-50", "approve-100"),
        *("weight-100", "second-person", "weight-100-again"),
    ]
    canary = imported.named("job_templates")["production phase-2.4-canary"]["id"]
    for one in ours:
        step = nodes[one]
        if step["identifier"].startswith("weight-"):
            weight = step["identifier"].split("-")[1]
            assert step["unified_job_template"] == canary
            assert step["extra_data"] == {"weight": weight, "environment_confirmed": "production"}
        else:
            assert step["unified_job_template"] is None
            assert step["create_approval_template"]["name"].endswith(("to the Task Service?", "Then it runs again."))


def test_the_way_home_goes_on_also_when_break_glass_failed(imported):
    nodes = {one["identifier"]: one["id"] for one in imported.things["workflow_job_template_nodes"].values()}
    assert imported.links[nodes["break-glass"], "always_nodes"] == [nodes["rollback"]]


def test_the_inventory_is_read_from_the_project_and_waits_for_nobody(imported):
    (source,) = imported.things["inventory_sources"].values()
    assert (source["source"], source["source_path"]) == ("scm", "inventories/production/hosts.yml")
    assert isinstance(source["source_project"], int)
    assert source["update_on_launch"] is False


def test_importing_again_makes_nothing_twice(imported, production):
    before = {kind: set(things) for kind, things in imported.things.items()}
    taken(imported, production)
    assert {kind: set(things) for kind, things in imported.things.items()} == before
