"""Where each thing of a lab is: the one place that up, down, Terraform's inventory and the tests agree on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import laravel, postgres_server
from lab.postgres_server import PostgresServer

TASK_SERVICE_DATABASE = "task_service"
TASK_SERVICE_OWNER = "task_service_admin"


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

    def endpoints_at(self, laravel_port: int, task_service_port: int, tasks: int) -> dict[str, Any]:
        """Every address of the lab; the Task Service's is where Terraform will make it."""

        def task_service(dbname: str, user: str) -> str:
            return postgres_server.dsn(self.task_service_directory, task_service_port, dbname, user)

        def of_laravel(user: str) -> str:
            return postgres_server.dsn(self.laravel_directory, laravel_port, laravel.APPLICATION, user)

        return {
            "lab_tasks": tasks,
            "laravel_dsn": of_laravel(laravel.MIGRATOR),
            "laravel_app_dsn": of_laravel(laravel.APPLICATION),
            "laravel_port": laravel_port,
            "task_service_dsn": task_service(TASK_SERVICE_DATABASE, TASK_SERVICE_OWNER),
            "task_service_port": task_service_port,
            "task_service_directory": str(self.task_service_directory),
            "terraform_state": str(self.terraform_directory / "terraform.tfstate"),
        }
