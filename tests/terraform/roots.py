"""One root module with Terraform to run on it, and the values that the environments are tried with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACCOUNT = "123456789012"
LARAVEL, TASK_SERVICE = "laravel.example.com", "tasks.example.com"
VARIABLES: dict[str, Any] = {
    "aws_region": "ap-northeast-1",
    "aws_account_id": ACCOUNT,
    "state_bucket": "terraform-states",
    "vpc_id": "vpc-1",
    "database_subnet_ids": {"ap-northeast-1a": "subnet-1a", "ap-northeast-1c": "subnet-1c"},
    "runner_subnet_id": "subnet-1a",
    "task_service_security_group_id": "sg-task-service",
    "laravel_database_security_group_id": "sg-laravel-database",
    "gateway_rest_api_id": "abc123",
    "gateway_api_resource_id": "res456",
    "gateway_stage": "live",
    "gateway_variable": "tasksUpstream",
    "laravel_upstream": LARAVEL,
    "sets_account_logging": True,
    "principal_arns": [f"arn:aws:iam::{ACCOUNT}:user/night"],
    "bounds": {
        "canary_error_rate_percent": 0.1,
        "canary_p95_ms": 200,
        "canary_sync_latency_ms": 100,
        "canary_cpu_percent": 70,
        "trigger_error_rate_percent": 5,
        "trigger_latency_ms": 500,
        "consistency_every_seconds": 3600,
        "verdict_max_age_hours": 24,
        "change_log_warn_entries": 100000,
    },
    "alert_topic_arn": f"arn:aws:sns:ap-northeast-1:{ACCOUNT}:alerts",
    "laravel_flag": {  # as in the inventory, with what Terraform does not ask for
        "kind": "ecs",
        "parameter": "/app/TASK_SERVICE_ENABLED",
        "cluster": "app",
        "service": "laravel",
        "timeout_seconds": 900,
    },
}


class Unsuccessful(Exception):
    """What Terraform said, on both streams."""


@dataclass
class Root:
    """``directory`` holds the root module, ``data`` is TF_DATA_DIR; ``variables`` are those of an environment."""

    directory: Path
    data: Path
    provider: dict[str, str]
    variables: dict[str, Any] = field(default_factory=lambda: dict(VARIABLES))

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """Raises Unsuccessful unless it ends with one of ``codes``."""
        self.data.mkdir(parents=True, exist_ok=True)
        settings = self.data / "terraform.rc"
        settings.touch()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
        environment |= {"TF_DATA_DIR": str(self.data), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
        environment["GOGC"] = "400"  # Terraform ends before tidying its memory pays: a fifth of its time
        # A cache of providers is the operator's to name.
        cache = {name: value for name, value in os.environ.items() if name == "TF_PLUGIN_CACHE_DIR"}
        done = subprocess.run(
            ["terraform", f"-chdir={self.directory}", *arguments],
            env=environment | {"TF_CLI_CONFIG_FILE": str(settings)} | cache | self.provider,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode not in codes:
            raise Unsuccessful(" ".join(f"{done.stdout}\n{done.stderr}".replace("│", " ").split()))
        return done

    def init(self, *options: str) -> None:
        self.run("init", "-input=false", "-no-color", *options)

    def validate(self) -> None:
        """Raises Unsuccessful with what is wrong."""
        self.run("validate", "-no-color")

    def test(self) -> None:
        """Runs the module's own tests; raises Unsuccessful with those that fail."""
        self.run("test", "-no-color")

    def plan(self, *options: str) -> dict[str, Any]:
        """The plan as ``show -json`` tells it."""
        file = str(self.data / "plan")
        self.run("plan", "-input=false", "-no-color", f"-out={file}", self._values(), *options)
        plan: dict[str, Any] = json.loads(self.run("show", "-json", file).stdout)
        return plan

    def apply(self, *options: str) -> None:
        self.run("apply", "-input=false", "-no-color", "-auto-approve", self._values(), *options)

    def is_as_planned(self) -> bool:
        """Whether nothing is left to do."""
        options = ("-input=false", "-no-color", "-detailed-exitcode", self._values())
        return self.run("plan", *options, codes=(0, 2)).returncode == 0

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.directory / "terraform.tfstate").read_text())
        return state

    def alter(self, kind: str, name: str = "", **attributes: Any) -> None:
        """Has the only resource of a kind differ in the state, or the only one of that name, all of its instances, as
        after somebody has changed it in AWS."""
        state = self.state
        managed = [one for one in state["resources"] if one["type"] == kind and one["mode"] == "managed"]
        (one,) = [one for one in managed if name in ("", one["name"])]
        for instance in one["instances"]:
            instance["attributes"] |= attributes
        (self.directory / "terraform.tfstate").write_text(json.dumps(state | {"serial": state["serial"] + 1}))

    def _values(self) -> str:
        file = self.data / "values.tfvars.json"
        file.write_text(json.dumps(self.variables))
        return f"-var-file={file}"


def copy_of(project: Path, copy: Path) -> Path:
    """A copy of ``terraform/``, without what Terraform left there."""
    shutil.copytree(project / "terraform", copy, symlinks=True, ignore=shutil.ignore_patterns(".terraform*"))
    return copy


def ready_root(checkout: Path, data: Path, name: str, provider: dict[str, str]) -> Root:
    """An initialised root module of a copy; an environment's state is a file beside it, and not in S3."""
    root = Root(checkout / name, data / name, provider)
    if name.startswith("environments/"):
        (root.directory / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    root.init()
    return root


def taken_from(made: Path, name: str, place: Path, provider: dict[str, str]) -> Root:
    """A copy of a root module as it stands in ``made``, initialised or applied."""
    shutil.copytree(made, place, symlinks=True, dirs_exist_ok=True)
    return Root(place / "terraform" / name, place / "data" / name, provider)


def planned(plan: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The values of every resource of a kind that there will be, by address."""

    def below(module: dict[str, Any]) -> list[dict[str, Any]]:
        inner = [one for child in module.get("child_modules", []) for one in below(child)]
        return [*module.get("resources", []), *inner]

    found = below(plan["planned_values"]["root_module"])
    return {one["address"]: one["values"] for one in found if one["type"] == kind and one["mode"] == "managed"}


def actions(plan: dict[str, Any]) -> dict[str, list[str]]:
    """What would be done, by address; without what stays as it is."""
    changes = {one["address"]: one["change"]["actions"] for one in plan.get("resource_changes", [])}
    return {address: verbs for address, verbs in changes.items() if verbs not in (["no-op"], ["read"])}
