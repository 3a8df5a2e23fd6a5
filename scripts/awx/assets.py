"""The assets of one environment for `awx import`: its inventory, a job template for each playbook, the workflows.

They refer to an organization, a project and an execution environment, which you create once by hand: docs/awx.md.
"""

from __future__ import annotations

import json
from typing import Any

from awx.playbook import Playbook, playbooks
from awx.playbook import inventory as values_of
from awx.survey import CONFIRMED, survey
from awx.workflows import WORKFLOWS, NaturalKey, Workflow, nodes

NAME = "task-migration"
"""The name of the project and of the execution environment in AWX."""
FOLDER = "/var/lib/task_migration"
"""A folder that remains after a job: AWX mounts it into its containers. Everything else that a job writes is lost."""
ORGANIZATION: NaturalKey = {"name": "Default", "type": "organization"}
PROJECT: NaturalKey = {"organization": ORGANIZATION, "name": NAME, "type": "project"}
IMAGE: NaturalKey = {"name": NAME, "type": "execution_environment"}

# A launch never asks for these. With them, anyone who may launch a job could set any variable, even alert_command,
# which is run. The survey asks for what may be chosen.
_NEVER_ASKED = (
    *("scm_branch", "diff_mode", "variables", "limit", "tags", "skip_tags", "verbosity", "inventory", "credential"),
    *("execution_environment", "labels", "forks", "job_slice_count", "timeout", "instance_groups"),
)


def assets(environment: str) -> dict[str, list[dict[str, Any]]]:
    """Returns the assets by kind. The environment is the name of an inventory."""
    inventory = _key("inventory", f"{NAME} {environment}")
    is_named = values_of(environment)["environment_confirmation"] == "ask"
    surveys = {one: survey(one, is_named=is_named) for one in playbooks()}
    keys = {one.name: _key("job_template", f"{environment} {one.name}") for one in surveys}
    named = {
        one.name: {CONFIRMED: environment}
        for one, asked in surveys.items()
        if any(question["variable"] == CONFIRMED for question in asked["spec"])
    }
    return {
        "inventory": [
            {"name": inventory["name"], "organization": ORGANIZATION, "kind": "", "natural_key": inventory},
        ],
        "inventory_sources": [_inventory_source(environment, inventory)],
        "job_templates": [
            _job_template(one, environment, inventory, keys[one.name], asked) for one, asked in surveys.items()
        ],
        "workflow_job_templates": [_workflow(one, environment, keys, named) for one in WORKFLOWS],
    }


def _key(kind: str, name: str) -> NaturalKey:
    return {"organization": ORGANIZATION, "name": name, "type": kind}


def _inventory_source(environment: str, inventory: NaturalKey) -> dict[str, Any]:
    name = f"inventories/{environment}"
    return {
        "name": name,
        "inventory": inventory,
        "source": "scm",
        "source_project": PROJECT,
        "source_path": f"{name}/hosts.yml",
        "overwrite": True,
        "overwrite_vars": True,
        # A rollback must not wait for a git server.
        "update_on_launch": False,
        "natural_key": {**_key("inventory_source", name), "inventory": inventory},
    }


def _job_template(
    playbook: Playbook, environment: str, inventory: NaturalKey, key: NaturalKey, questions: dict[str, Any]
) -> dict[str, Any]:
    template = {
        "name": key["name"],
        "description": playbook.title,
        "job_type": "run",
        "inventory": inventory,
        "project": PROJECT,
        "playbook": playbook.path,
        "execution_environment": IMAGE,
        "extra_vars": json.dumps(_places(environment), indent=2),
        "allow_simultaneous": False,
        "survey_enabled": bool(questions["spec"]),
        # Run or check. A rollback does not ask.
        "ask_job_type_on_launch": playbook.is_change and not playbook.is_rollback,
        **{f"ask_{what}_on_launch": False for what in _NEVER_ASKED},
        "natural_key": key,
    }
    if questions["spec"]:
        template["related"] = {"survey_spec": questions}
    return template


def _places(environment: str) -> dict[str, str]:
    """Returns the folders. AWX copies the inventory to another folder, where its relative paths are wrong; and see
    FOLDER."""
    return {
        "inventory_dir": f"/runner/project/inventories/{environment}",
        "report_directory": f"{FOLDER}/{environment}/reports",
        "rehearsal_directory": f"{FOLDER}/rehearsals",
    }


def _workflow(
    workflow: Workflow, environment: str, templates: dict[str, NaturalKey], named: dict[str, dict[str, str]]
) -> dict[str, Any]:
    key = _key("workflow_job_template", f"{environment} {workflow.name}")
    return {
        "name": key["name"],
        "description": workflow.title,
        "organization": ORGANIZATION,
        "allow_simultaneous": False,
        "survey_enabled": False,
        **{f"ask_{what}_on_launch": False for what in ("variables", "inventory", "limit", "scm_branch", "labels")},
        "related": {"workflow_nodes": nodes(workflow, key, templates, named)},
        "natural_key": key,
    }
