"""The settings that the documentation and the lab give are settings that are taken."""

from __future__ import annotations

import re

import yaml
from task_migration.canary import metric_sources
from task_migration.external.aws import Aws


def taken(settings):
    found = metric_sources.source(settings, Aws("ap-northeast-1", "http://127.0.0.1:9"))
    return found.name


def test_what_the_readme_shows_is_taken(project):
    text = (project / "roles/canary/README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(metric_source:.*?)```", text, re.DOTALL)
    assert [taken(yaml.safe_load(one)["metric_source"]) for one in blocks] == ["CloudWatch", "Prometheus"]


def test_what_the_labs_inventory_gives_is_taken(project):
    values = yaml.safe_load((project / "inventories/local/group_vars/all.yml").read_text(encoding="utf-8"))
    assert taken(values["metric_source"]) == "CloudWatch"
