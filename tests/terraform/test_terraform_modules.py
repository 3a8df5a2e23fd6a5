"""Every module and environment: formatted, valid against the provider's schema, and as its own tests want it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

TERRAFORM = Path(__file__).parents[2] / "terraform"
MODULES = sorted(f"modules/{folder.name}" for folder in (TERRAFORM / "modules").iterdir() if folder.is_dir())
ENVIRONMENTS = sorted(f"environments/{folder.name}" for folder in (TERRAFORM / "environments").iterdir())
FILES = {"versions.tf", "main.tf", "variables.tf", "outputs.tf"}
IN_AWS = ["environments/production", "environments/staging"]


def test_all_of_it_is_formatted():
    subprocess.run(["terraform", "fmt", "-check", "-recursive", str(TERRAFORM)], check=True, capture_output=True)


@pytest.mark.parametrize("name", [*MODULES, *ENVIRONMENTS])
def test_it_is_valid(root, name):
    root(name).validate()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_as_its_own_tests_want_it(root, name):
    ready = root(name)
    assert list(ready.directory.glob("tests/*.tftest.hcl"))
    ready.test()


@pytest.mark.parametrize("name", [*MODULES, *ENVIRONMENTS])
def test_its_files_are_where_one_looks_for_them(name):
    there = {file.name for file in (TERRAFORM / name).iterdir()}
    assert there >= FILES | {"README.md"}


@pytest.mark.parametrize("name", MODULES)
def test_what_makes_the_database_is_exchangeable(name):
    def told(module, file):
        return {line.split('"')[1] for line in (TERRAFORM / module / file).read_text().splitlines() if '" {' in line}

    interface = {
        "variables.tf": {"identifier", "db_name", "username", "port", "engine_version"},
        "outputs.tf": {
            *("address", "port", "db_name", "username", "identifier", "resource_id", "engine_version_actual"),
            "master_user_secret_arn",
        },
    }
    if name.startswith("modules/task_service_"):
        assert all(told(name, file) >= names for file, names in interface.items())


def test_staging_rehearses_productions_very_text():
    production, staging = (TERRAFORM / name for name in IN_AWS)
    own = {"environment.tf", "stays.tf", "README.md"}
    shared = {file.name for file in production.glob("*.tf")} - own
    assert shared == FILES
    for name in shared:
        assert (staging / name).resolve() == production / name


@pytest.mark.parametrize("name", IN_AWS)
def test_the_inventory_gives_every_value_that_is_asked_for_and_no_other(project, name):
    text = (TERRAFORM / name / "variables.tf").read_text()
    blocks = {block.split('"')[0]: block for block in text.split('variable "')[1:]}
    inventory = project / "inventories" / name.split("/")[1] / "group_vars/all.yml"
    given = yaml.safe_load(inventory.read_text())["terraform_variables"].keys()
    assert given <= blocks.keys()
    assert {one for one, block in blocks.items() if "\n  default" not in block} <= given


@pytest.mark.parametrize("name", IN_AWS)
def test_the_states_key_is_the_one_that_roles_are_let_to(name):
    keys = [
        line.split('"')[1]
        for line in (TERRAFORM / name / "environment.tf").read_text().splitlines()
        if line.split()[:2] in (["key", "="], ["state_key", "="])
    ]
    assert keys == [f"task-service/{name.split('/')[1]}.tfstate"] * 2
