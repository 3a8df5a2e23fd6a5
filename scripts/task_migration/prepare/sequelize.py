"""Runs sequelize-cli in the Task Service's checkout: lists its migrations, and runs db:migrate."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from task_migration.errors import Failed, Refused
from task_migration.postgres import database

_ENVIRONMENT_NAME = "TASK_MIGRATION_CONNECTION"
STOP_SECONDS = 10.0
_NOT_INSTALLED = ("npx canceled due to missing packages", "could not determine executable", "ENOVERSIONS")


@dataclass(frozen=True)
class _ProgramEnded:
    """The result of a program; ``complaint`` is the most informative line of its errors."""

    code: int
    output: str
    complaint: str


def migrations_in(directory: str) -> list[str]:
    """Returns the names under which the checkout's migrations are recorded, in the order in which they run.

    It needs no database. Raises Refused if there is no checkout, no Node.js or no migrations folder.
    """
    if not directory:
        raise Refused(
            "schema_runner is sequelize, but sequelize_directory is not set",
            measured="sequelize_directory is empty",
            allowed="the folder of the Task Service's checkout",
            next_step="set sequelize_directory in the inventory, or schema_runner: sql",
        )
    if not Path(directory).is_dir():
        raise Refused(
            "the Task Service's checkout does not exist",
            measured=f"no folder {directory}",
            next_step="correct sequelize_directory in the inventory, or clone the Task Service's repository to it",
        )
    with as_file(files("task_migration") / "prepare" / "sequelize" / "migrations.cjs") as program:
        ended = _run([_program("node"), str(program)], Path(directory), _environment())
    if ended.code:
        raise Refused(
            "the checkout's .sequelizerc cannot be read",
            measured=ended.complaint,
            next_step=f"correct {directory}/.sequelizerc",
        )
    found = json.loads(ended.output.splitlines()[-1])
    if found["namesItsOwnDatabase"]:
        raise Refused(
            "the checkout's .sequelizerc contains a database URL, and that database would be migrated instead",
            measured=f"url in {directory}/.sequelizerc",
            next_step="remove url from that file; the application's database belongs in its config file",
        )
    if not found["names"]:
        raise Refused(
            "the checkout has no migrations",
            measured=f"{'no file' if found['names'] == [] else 'no folder'} {found['folder']}",
            next_step="correct sequelize_directory in the inventory, or migrations-path in .sequelizerc",
        )
    return list(found["names"])


def migrate(directory: str, connection: database.Connection) -> None:
    """Runs ``npx sequelize-cli db:migrate`` on the database that ``connection`` is connected to, with its credentials.

    The credentials are passed in the environment of that process. Raises Refused if sequelize-cli is not installed in
    the checkout; Failed with its error if a migration failed: the migrations before it are done.
    """
    given = _connection(connection)
    with as_file(files("task_migration") / "prepare" / "sequelize" / "config.cjs") as config:
        ended = _run(
            [_program("npx"), "--no-install", "sequelize-cli", "db:migrate", "--config", str(config)],
            Path(directory),
            {**_environment(), _ENVIRONMENT_NAME: json.dumps(given)},
        )
    if not ended.code:
        return
    if any(words in ended.complaint for words in _NOT_INSTALLED):
        raise Refused(
            "sequelize-cli is not installed in the Task Service's checkout",
            measured=ended.complaint,
            next_step=f"(cd {directory} && npm ci), then run the same command again",
        )
    complaint = ended.complaint
    if given["password"]:
        complaint = complaint.replace(given["password"], "***")
    raise Failed(
        "sequelize-cli failed; the migrations that it finished are recorded",
        measured=complaint,
        next_step="fix the reported error, then run the same command again: it continues where it stopped",
    )


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Refused(
            "schema_runner is sequelize, but Node.js is not installed",
            measured=f"no {name} in PATH",
            next_step="install Node.js 18 or newer, or set schema_runner: sql in the inventory",
        )
    return found


def _environment() -> dict[str, str]:
    """Returns this environment without variables that redirect node-pg or make Sequelize print its configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "DEBUG"}


def _run(arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> _ProgramEnded:
    """Runs a program in its own process group, so that an interrupt can end its children too."""
    process = subprocess.Popen(
        arguments,
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, errors = process.communicate()
    except BaseException:
        _end(process)
        raise
    return _ProgramEnded(process.returncode, output, _complaint(errors, output, process.returncode))


def _end(process: subprocess.Popen[str]) -> None:
    """Terminates the process group, and kills what still runs after ``STOP_SECONDS``."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _complaint(errors: str, output: str, code: int) -> str:
    """Returns the line that describes the failure: one marked as an error, else the last that is not a warning."""
    lines = [line.strip() for line in errors.splitlines() if line.strip() and not line.startswith("npm warn")]
    marked = [line for line in lines if line.startswith(("ERROR:", "npm error", "Error:")) or "Error: " in line]
    found = marked or lines[-1:] or output.strip().splitlines()[-1:]
    return found[0] if found else f"exit code {code}, no error message"


def _connection(connection: database.Connection) -> dict[str, Any]:
    """Returns a Sequelize configuration for the database and login of this session."""
    info = connection.info
    ssl, any_host_name = _ssl(connection)
    return {
        "dialect": "postgres",
        "host": info.host,
        "port": info.port,
        "database": info.dbname,
        "username": info.user,
        "password": info.password,
        "dialectOptions": {"ssl": ssl, "application_name": "task_migration sequelize-cli"},
        "anyHostName": any_host_name,
    }


def _ssl(connection: database.Connection) -> tuple[dict[str, Any] | bool, bool]:
    """Returns Node's TLS options for this session's TLS, and whether any host name is allowed (verify-ca)."""
    if not connection.pgconn.ssl_in_use:
        return False, False
    parameters = connection.info.get_parameters()
    mode = parameters.get("sslmode", "prefer")
    checked = mode in ("verify-ca", "verify-full")
    root = parameters.get("sslrootcert") or str(Path.home() / ".postgresql" / "root.crt")
    options: dict[str, Any] = {"rejectUnauthorized": checked}
    if checked and root != "system" and Path(root).exists():
        options["ca"] = Path(root).read_text(encoding="utf-8")
    for name, parameter in (("cert", "sslcert"), ("key", "sslkey")):
        if path := parameters.get(parameter):
            options[name] = Path(path).read_text(encoding="utf-8")
    return options, mode == "verify-ca"
