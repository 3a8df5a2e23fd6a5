"""Where each thing of a lab is: the one place that up, down, Terraform's inventory and the tests agree on."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import laravel, postgres_server
from lab.postgres_server import HOST, PostgresServer
from lab.processes import Background

TASK_SERVICE_DATABASE = "task_service"
TASK_SERVICE_OWNER = "task_service_admin"
S3_BUCKET = "task-images-lab"
LARAVEL_APP, TASK_SERVICE_APP = "laravel_app", "task_service_app"


@dataclass(frozen=True)
class World:
    """A lab in a directory of its own."""

    directory: Path

    @property
    def laravel_directory(self) -> Path:
        return self.directory / "laravel"

    @property
    def task_service_directory(self) -> Path:
        """The Task Service's server, which Terraform makes there."""
        return self.directory / "task_service"

    @property
    def terraform_directory(self) -> Path:
        """Terraform's state of this lab."""
        return self.directory / "terraform"

    @property
    def endpoints_file(self) -> Path:
        return self.directory / "endpoints.json"

    @property
    def processes_directory(self) -> Path:
        """Pid files and logs of the lab's own processes."""
        return self.directory / "processes"

    @property
    def service_token_file(self) -> Path:
        """What the sync shows to the Task Service's API."""
        return self.directory / "service-token"

    @property
    def services_directory(self) -> Path:
        """What the runbook keeps alive here: the inventory's service_directory."""
        return self.directory / "services"

    def laravel_server(self, port: int) -> PostgresServer:
        return PostgresServer(self.laravel_directory, port)

    def task_service_server(self, port: int) -> PostgresServer:
        return PostgresServer(self.task_service_directory, port)

    def endpoints(self) -> dict[str, Any]:
        """What endpoints.json says; nothing if the lab is not up."""
        try:
            found = json.loads(self.endpoints_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def apps(self, endpoints: dict[str, Any]) -> tuple[Background, Background]:
        """Laravel's app and the Task Service's, at those addresses."""

        def app(name: str, *words: str) -> Background:
            port = str(endpoints[f"{name}_port"])
            command = (sys.executable, "-m", f"lab.{name}", "--port", port, *words)
            return Background(name, self.processes_directory, command)

        token = ("--service-token-file", str(self.service_token_file))
        return (
            app(LARAVEL_APP, "--dsn", endpoints["laravel_app_dsn"]),
            app(TASK_SERVICE_APP, "--dsn", endpoints["task_service_dsn"], *token),
        )

    def endpoints_at(
        self,
        laravel_port: int,
        task_service_port: int,
        tasks: int,
        *,
        laravel_app_port: int = 0,
        task_service_app_port: int = 0,
    ) -> dict[str, Any]:
        """Every address of the lab; the Task Service's database is where Terraform will make it."""

        def task_service(dbname: str, user: str) -> str:
            return postgres_server.dsn(self.task_service_directory, task_service_port, dbname, user)

        def of_laravel(user: str) -> str:
            return postgres_server.dsn(self.laravel_directory, laravel_port, laravel.APPLICATION, user)

        return {
            "lab_tasks": tasks,
            "laravel_dsn": of_laravel(laravel.MIGRATOR),
            "laravel_app_dsn": of_laravel(laravel.APPLICATION),
            "laravel_port": laravel_port,
            "laravel_url": f"http://{HOST}:{laravel_app_port}",
            "laravel_app_port": laravel_app_port,
            "task_service_dsn": task_service(TASK_SERVICE_DATABASE, TASK_SERVICE_OWNER),
            "task_service_port": task_service_port,
            "task_service_url": f"http://{HOST}:{task_service_app_port}",
            "task_service_app_port": task_service_app_port,
            "service_token_file": str(self.service_token_file),
            "task_service_directory": str(self.task_service_directory),
            "terraform_state": str(self.terraform_directory / "terraform.tfstate"),
        }
