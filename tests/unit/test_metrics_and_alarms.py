"""Metrics, alarms, bounds and their page agree: Terraform, the program, the inventories and docs/metrics.md."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from botocore.session import Session
from task_migration.external import alarm_actions, cloudwatch_publisher
from task_migration.finish import alarms
from task_migration.runtime import services

PROJECT = Path(__file__).parents[2]
MODULE = PROJECT / "terraform/modules/observability"
PAGE = (PROJECT / "docs/metrics.md").read_text(encoding="utf-8")
ALARM = re.compile(
    r'"?(?P<name>[\w${}-]+)"? (?:=|=>) \{\n +metric = "(?P<metric>\w+)".*?\n +type +=\s"(?P<type>[^"]+)"', re.DOTALL
)
DEFAULT = re.compile(
    r'variable "(?P<name>\w+)" \{(?:(?!^\}).)*?^  default +=\s(?P<value>.+?)$', re.MULTILINE | re.DOTALL
)


def declared_alarms():
    """Of Terraform's text: name, metric and what to type."""
    found = [match.groupdict() for match in ALARM.finditer((MODULE / "main.tf").read_text(encoding="utf-8"))]
    assert len(found) == 4 + 10 + 2  # each direction's four, the others, what is silent
    return found


def rows():
    """The page's table, each row by its metric; one that names none is of the metric above."""
    found, metric = {}, ""
    for line in PAGE.split("|---|---|---|---|---|---|\n")[1].split("\n\n")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        metric = cells[0].strip("`") or metric
        found.setdefault(metric, []).append(cells)
    return found


def test_the_program_and_terraform_read_one_file():
    there = Path(str(files("task_migration") / "external" / "metric_data.yml"))
    assert there.is_symlink()
    assert there.resolve() == MODULE / "metric_data.yml"


def test_every_metric_has_a_unit_of_cloudwatchs_and_says_what_it_is():
    shape = Session().get_service_model("cloudwatch").shape_for("StandardUnit")
    for name, one in cloudwatch_publisher.catalogue().items():
        assert one.keys() == {"unit", "by", "directed", "about"}, name
        assert one["unit"] in shape.enum, name
        assert isinstance(one["directed"], bool)


def test_every_metric_has_its_row_with_unit_and_publisher():
    told = {name: (cells[0][1], cells[0][2]) for name, cells in rows().items()}
    assert told == {name: (one["unit"], one["by"]) for name, one in cloudwatch_publisher.catalogue().items()}


def test_every_alarm_stands_in_the_row_of_its_metric_with_what_to_type():
    assert {one["metric"] for one in declared_alarms()} <= cloudwatch_publisher.catalogue().keys()
    for one in declared_alarms():
        directed = cloudwatch_publisher.catalogue()[one["metric"]]["directed"]
        name = f"sync-...-{one['name'].rpartition('-')[2]}" if directed else one["name"]
        told = [cells[5] for cells in rows()[one["metric"]] if cells[3] == f"`{name}`"]
        assert told == [f"`{one['type']}`"], name
    named = {cells[3].strip("`") for of in rows().values() for cells in of if cells[3].startswith("`")}
    assert len(named) == len(declared_alarms())


def test_what_an_alarm_says_to_type_is_there():
    for one in declared_alarms():
        assert (PROJECT / "playbooks" / one["type"]).exists(), one["name"]


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_bounds_are_the_inventorys(environment):
    inventory = yaml.safe_load((PROJECT / f"inventories/{environment}/group_vars/all.yml").read_text())
    defaults = {
        match["name"]: json.loads(match["value"])
        for match in DEFAULT.finditer((MODULE / "variables.tf").read_text(encoding="utf-8"))
    }
    shared = defaults.keys() & inventory.keys()
    assert defaults.keys() - shared == {"standstill_seconds"}
    assert {name: inventory[name] for name in shared} == {name: defaults[name] for name in shared}


def test_the_runbook_gives_a_voice_to_the_alarms_that_terraform_makes_for_it():
    text = (MODULE / "main.tf").read_text(encoding="utf-8")
    assert 'name     = "task-service-${var.migration_environment}-migration"' in text
    silent = {"sync-forward-silent", "sync-backward-silent", "consistency-silent"}
    assert {alarm_actions.alarm_name("staging", name) for name in services.NAMES} == {
        f"task-service-staging-migration-{name}" for name in silent
    }
    assert '"sync-${direction}-silent" =>' in text
    assert "consistency-silent = {" in text


def test_no_alarm_has_two_owners():
    source = {
        "kind": "cloudwatch",
        "api_name": "tasks",
        "stage": "live",
        "resources": ["/api/tasks"],
        "load_balancer": "app/tasks/0123456789abcdef",
        "target_group": "targetgroup/tasks/0123456789abcdef",
        "db_instance": "task-service",
        "period_seconds": 60,
        "delay_seconds": 180,
    }
    settings = alarms.cloudwatch_settings(source)
    of_the_end = alarms._alarms(settings, {"error": 0.1, "p95": 200, "cpu": 70}, "task-service-staging", "")
    assert of_the_end
    assert not [name for name in of_the_end if re.match(r"task-service-staging-(migration|database)-", name)]
