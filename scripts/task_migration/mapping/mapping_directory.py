"""Which service is moved: the folder of its mappings; the Task Service (task_service/) unless another is chosen.

The folder holds ``mapping/``, a file for each of the service's tables; ``schema/``, the migrations that make them if no
sequelize-cli does; and ``reverse/``, if writes are to be carried back. It is the process's choice and no argument: all
verbs of one run mean the same service, and most of them would only hand it on.
"""

from __future__ import annotations

import hashlib
import os
from importlib.resources.abc import Traversable
from pathlib import Path

from task_migration import sql_files
from task_migration.errors import Refused

VARIABLE = "TASK_MIGRATION_MAPPINGS"
"""In the environment, so that the processes that this one starts have it too."""
_OF_THE_TASK_SERVICE = "scripts/task_migration/mapping/task_service"


def choose(directory: str) -> None:
    """From now on the service of this folder is meant; "": the Task Service. Raises Refused if it has no mapping."""
    if not directory:
        os.environ.pop(VARIABLE, None)
        return
    path = Path(os.path.abspath(Path(directory).expanduser()))
    if not any(path.glob("mapping/*.sql")):
        raise Refused(
            "mapping_directory is no folder of mappings",
            measured=f"no file {path}/mapping/*.sql",
            allowed="a folder as in docs/adding-a-service.md, or none for the Task Service",
            next_step="correct mapping_directory in the inventory",
        )
    os.environ[VARIABLE] = str(path)


def chosen() -> str:
    """The absolute path of the chosen folder; "" for the Task Service's."""
    return os.environ.get(VARIABLE, "")


def folder(part: str) -> Traversable:
    """``mapping``, ``schema`` or ``reverse`` of the service; it may not be there."""
    directory = chosen()
    return (Path(directory) if directory else sql_files.folder() / "mapping" / "task_service") / part


def described(part: str) -> str:
    """Where that is, for messages."""
    return f"{chosen() or _OF_THE_TASK_SERVICE}/{part}"


def texts(part: str) -> dict[str, str]:
    """The texts of its .sql files by their names without .sql, in the order of their names; none if it is not there."""
    found = folder(part)
    if not found.is_dir():
        return {}
    return {
        file.name.removesuffix(".sql"): file.read_text(encoding="utf-8")
        for file in sorted(found.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".sql")
    }


def version() -> str:
    """Which mappings these are: the beginning of the SHA-256 of their files, those of the way back among them."""
    said = hashlib.sha256()
    for part in ("mapping", "reverse"):
        for name, text in texts(part).items():
            said.update(f"{part}/{name}\0{text}\0".encode())
    return said.hexdigest()[:12]
