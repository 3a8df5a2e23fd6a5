"""Selects the service that is migrated, by the folder of its mappings: task_service/ unless another is chosen.

The folder contains ``mapping/``, one file for each of the service's tables; ``schema/``, the migrations that create
them without sequelize-cli; and ``reverse/``, for the backward sync. It is a setting of the process and not an argument,
because all functions of one run use the same service, and most of them would only pass it on.
"""

from __future__ import annotations

import hashlib
import os
from importlib.resources.abc import Traversable
from pathlib import Path

from task_migration import sql_files
from task_migration.errors import Refused

VARIABLE = "TASK_MIGRATION_MAPPINGS"
"""An environment variable, so that child processes use the same service."""
_OF_THE_TASK_SERVICE = "scripts/task_migration/mapping/task_service"


def choose(directory: str) -> None:
    """Selects the service of this folder; "": the Task Service. Raises Refused if the folder has no mapping."""
    if not directory:
        os.environ.pop(VARIABLE, None)
        return
    path = Path(os.path.abspath(Path(directory).expanduser()))
    if not any(path.glob("mapping/*.sql")):
        raise Refused(
            "mapping_directory does not contain mappings",
            measured=f"no file {path}/mapping/*.sql",
            allowed="a folder as in docs/adding-a-service.md, or empty for the Task Service",
            next_step="correct mapping_directory in the inventory",
        )
    os.environ[VARIABLE] = str(path)


def chosen() -> str:
    """Returns the absolute path of the chosen folder; "" for the Task Service's."""
    return os.environ.get(VARIABLE, "")


def folder(part: str) -> Traversable:
    """Returns the folder ``mapping``, ``schema`` or ``reverse`` of the service; it may not exist."""
    directory = chosen()
    return (Path(directory) if directory else sql_files.folder() / "mapping" / "task_service") / part


def described(part: str) -> str:
    """Returns the path of that folder for messages."""
    return f"{chosen() or _OF_THE_TASK_SERVICE}/{part}"


def texts(part: str) -> dict[str, str]:
    """Returns the texts of the folder's .sql files by name without .sql, sorted by name; none if it does not exist."""
    found = folder(part)
    if not found.is_dir():
        return {}
    return {
        file.name.removesuffix(".sql"): file.read_text(encoding="utf-8")
        for file in sorted(found.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".sql")
    }


def version() -> str:
    """Returns the version of the mappings: the first digits of the SHA-256 of their files and of the reverse ones."""
    digest = hashlib.sha256()
    for part in ("mapping", "reverse"):
        for name, text in texts(part).items():
            digest.update(f"{part}/{name}\0{text}\0".encode())
    return digest.hexdigest()[:12]
