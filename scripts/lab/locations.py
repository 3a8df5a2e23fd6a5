"""Where each part of a lab is. up, down, Terraform's inventory and the tests all read it here."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lab.servers import laravel_tables, postgres_server, tls_proxy
from lab.servers.postgres_server import HOST, SUPERUSER, PostgresServer
from lab.servers.processes import BackgroundProcess

TASK_SERVICE_DATABASE = "task_service"
TASK_SERVICE_OWNER = "task_service_admin"
S3_BUCKET = "task-images-lab"
AWS_REGION = "ap-northeast-1"
API_NAME, REST_API_ID = "tasks-lab", "taskslab01"
STAGE, VARIABLE = "lab", "tasksUpstream"
LOAD_BALANCERS = {
    "laravel": "app/laravel-lab/0000000000000001",
    "task_service": "app/task-service-lab/0000000000000002",
}
TARGET_GROUPS = {
    "laravel": "targetgroup/laravel-lab/0000000000000001",
    "task_service": "targetgroup/task-service-lab/0000000000000002",
}
DB_INSTANCE = "task-service-lab"
LISTENING = ("aws", "laravel_app", "task_service_app", "gateway")
"""The lab's processes that listen on a port; endpoints.json has it as ``<name>_port``."""
TLS_PROXIES = {"laravel_tls": "laravel_port", "task_service_tls": "task_service_port"}
"""The TLS proxies of a secure lab, each with the key of the server's port that it forwards to."""
ROLE = "task_migration_{role}"
"""The runbook's logins in a secure lab, one for each purpose."""


@dataclass(frozen=True)
class Locations:
    """A lab, by its directory."""

    directory: Path

    @property
    def laravel_directory(self) -> Path:
        return self.directory / "laravel"

    @property
    def task_service_directory(self) -> Path:
        """The Task Service's server, which Terraform creates."""
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
        """Pid files and logs of the lab's processes."""
        return self.directory / "processes"

    @property
    def service_token_file(self) -> Path:
        """The token with which the sync calls the Task Service's API."""
        return self.directory / "service-token"

    @property
    def probe_headers_file(self) -> Path:
        """The HTTP headers of a user, for probes through the gateway."""
        return self.directory / "gateway-probe-headers"

    @property
    def tls_directory(self) -> Path:
        """The lab's CA and the certificates that it signed."""
        return self.directory / "tls"

    @property
    def laravel_checkout(self) -> Path:
        """Laravel's code, as a git checkout."""
        return self.directory / "laravel-code"

    @property
    def access_log(self) -> Path:
        """The gateway's access log."""
        return self.processes_directory / "gateway-access.log"

    @property
    def services_directory(self) -> Path:
        """The runbook's services in the lab: the inventory's service_directory."""
        return self.directory / "services"

    def laravel_server(self, port: int) -> PostgresServer:
        return PostgresServer(self.laravel_directory, port)

    def task_service_server(self, port: int) -> PostgresServer:
        return PostgresServer(self.task_service_directory, port)

    def endpoints(self) -> dict[str, Any]:
        """Returns what is in endpoints.json; {} if the lab is not up."""
        try:
            found = json.loads(self.endpoints_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def processes(self, endpoints: Mapping[str, Any]) -> dict[str, BackgroundProcess]:
        """Returns each of the lab's processes by its name, with the addresses in ``endpoints``."""

        def process(name: str, module: str, *words: str) -> BackgroundProcess:
            port = ("--port", str(endpoints[f"{name}_port"])) if f"{name}_port" in endpoints else ()
            command = (sys.executable, "-m", f"lab.{module}", *port, *words)
            return BackgroundProcess(name, self.processes_directory, command)

        aws = ("--aws-endpoint-url", endpoints["aws_endpoint_url"])
        access_log = ("--access-log", endpoints["gateway_access_log"])
        stage = ("--rest-api", REST_API_ID, "--stage", STAGE)
        upstreams = (
            *("--laravel-upstream", endpoints["laravel_upstream"]),
            *("--task-service-upstream", endpoints["task_service_upstream"]),
        )
        state = ("--state", str(self.processes_directory / "gateway_metrics.state"))
        token = ("--service-token-file", endpoints["service_token_file"])
        found = (
            process("aws", "gateway.aws_emulator", "--directory", str(self.processes_directory)),
            process("laravel_app", "apps.laravel_app", "--dsn", endpoints["laravel_app_dsn"]),
            process(
                "task_service_app", "apps.task_service_app", "--dsn", endpoints.get("task_service_app_dsn", ""), *token
            ),
            process("gateway", "gateway.gateway", *aws, *stage, *access_log),
            process(
                *("gateway_metrics", "gateway.gateway_metrics", *aws, *access_log, *upstreams, *state),
                *("--database-directory", endpoints["task_service_directory"]),
            ),
        )
        certificates = ("--directory", str(self.tls_directory))
        proxies = (
            process(name, "servers.tls_proxy", "--to", str(endpoints[to]), *certificates)
            for name, to in TLS_PROXIES.items()
            if f"{name}_port" in endpoints
        )
        return {one.name: one for one in (*found, *proxies)}

    def endpoints_at(
        self,
        laravel_port: int,
        task_service_port: int,
        filled: laravel_tables.LaravelContents,
        ports: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Returns every address of the lab. The Task Service's database is where Terraform will create it.

        ``ports`` are those of the processes in LISTENING. With ports for TLS_PROXIES the lab is secure: the runbook
        then reaches the databases through TLS, with a login for each purpose.
        """
        at = dict.fromkeys(LISTENING, 0) | dict(ports or {})

        def through_tls(dsn: str, proxy: str, user: str) -> str:
            """Returns the connection string through TLS, as for RDS; "" in a lab that is not secure."""
            if proxy not in at:
                return ""
            passfile = str(Path(str(conninfo_to_dict(dsn)["passfile"])).with_name(user))
            tls = {"sslmode": "verify-full", "sslrootcert": str(self.tls_directory / tls_proxy.CA)}
            return make_conninfo(dsn, port=at[proxy], user=user, passfile=passfile, **tls)

        def task_service(dbname: str, user: str) -> str:
            return postgres_server.dsn(self.task_service_directory, task_service_port, dbname, user)

        def laravel(user: str) -> str:
            return postgres_server.dsn(self.laravel_directory, laravel_port, laravel_tables.APPLICATION, user)

        def lab_access(dsn: str) -> str:
            """Returns the lab's own connection string, which can read tables of any owner."""
            passfile = str(Path(str(conninfo_to_dict(dsn)["passfile"])).with_name(SUPERUSER))
            return make_conninfo(dsn, user=SUPERUSER, passfile=passfile) if "laravel_tls" in at else dsn

        laravel_dsn = laravel(laravel_tables.MIGRATOR)
        task_service_dsn = task_service(TASK_SERVICE_DATABASE, TASK_SERVICE_OWNER)
        return {
            "lab_tasks": filled.tasks,
            "lab_dump": filled.dump,
            "runbook_laravel_dsn": through_tls(laravel_dsn, "laravel_tls", ROLE) or laravel_dsn,
            "runbook_task_service_dsn": through_tls(task_service_dsn, "task_service_tls", ROLE) or task_service_dsn,
            "laravel_admin_dsn": through_tls(laravel_dsn, "laravel_tls", laravel_tables.ADMIN),
            "task_service_admin_dsn": through_tls(task_service_dsn, "task_service_tls", TASK_SERVICE_OWNER),
            "laravel_dsn": lab_access(laravel_dsn),
            "laravel_app_dsn": laravel(laravel_tables.APPLICATION),
            "laravel_port": laravel_port,
            "laravel_url": f"http://{HOST}:{at['laravel_app']}",
            "laravel_upstream": f"{HOST}:{at['laravel_app']}",
            "task_service_dsn": lab_access(task_service_dsn),
            "task_service_app_dsn": task_service_dsn,
            "task_service_port": task_service_port,
            "task_service_url": f"http://{HOST}:{at['task_service_app']}",
            "task_service_upstream": f"{HOST}:{at['task_service_app']}",
            "aws_endpoint_url": f"http://{HOST}:{at['aws']}",
            "gateway_rest_api_id": REST_API_ID,
            "gateway_url": f"http://{HOST}:{at['gateway']}",
            "gateway_access_log": str(self.access_log),
            "gateway_probe_headers_file": str(self.probe_headers_file),
            **{f"{name}_port": port for name, port in at.items()},
            "service_token_file": str(self.service_token_file),
            "laravel_checkout": str(self.laravel_checkout),
            "task_service_directory": str(self.task_service_directory),
            "terraform_state": str(self.terraform_directory / "terraform.tfstate"),
        }
