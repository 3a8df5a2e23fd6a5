"""The configuration file of a service, which only its own user can read.

The file contains connection strings and the names of passfiles, never a password. It is JSON: the fields of
``SyncSettings``, and also ``health_ports`` ({"forward": 9801, "backward": 9802}), ``history_directory`` ("": none),
``consistency`` (further parameters of the hourly check), ``mapping_directory`` ("": the Task Service's own), and
``metrics`` (where the sync's metrics are published; {}: nowhere).
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from task_migration.errors import Failed, Refused

_WRITE_AGAIN = "ansible-playbook phase-2.3-dual-write.yml writes it again"


@dataclass(frozen=True)
class Configuration:
    """The content of the file. ``settings`` are the fields of ``SyncSettings``; ``health_ports`` is a loopback port per
    direction; ``consistency`` are further parameters of the consistency check; ``metrics`` those of
    ``CloudWatchPublisher``.
    """

    settings: Mapping[str, Any]
    health_ports: Mapping[str, int]
    history_directory: str
    consistency: Mapping[str, Any] = field(default_factory=dict)
    mapping_directory: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)

    def history(self, direction: str) -> Path | None:
        """Returns the file of a direction's latency history; None without one."""
        return Path(self.history_directory) / f"lag-{direction}.jsonl" if self.history_directory else None


def history_below(service_directory: Path) -> Path:
    """Returns the folder of the latency history, below the folder of the services."""
    return service_directory / "history"


def read(path: Path) -> Configuration:
    """Reads the configuration. Raises Refused if the file is missing, readable for others, or not valid."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except OSError as error:
        raise Refused(f"cannot read {path}", measured=error.strerror or str(error), next_step=_WRITE_AGAIN) from error
    if mode & 0o077:
        raise Refused(
            f"users other than its owner can read or write {path}",
            measured=f"mode {mode:04o}",
            allowed="0600",
            next_step=f"chmod 600 {shlex.quote(str(path))}",
        )
    try:
        values = dict(json.loads(text))
        ports = {str(direction): int(port) for direction, port in dict(values.pop("health_ports")).items()}
        history_directory = str(values.pop("history_directory", ""))
        consistency = dict(values.pop("consistency", {}))
        mapping_directory = str(values.pop("mapping_directory", ""))
        metrics = dict(values.pop("metrics", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(
            f"{path} is not a valid service configuration", measured=type(error).__name__, next_step=_WRITE_AGAIN
        ) from error
    return Configuration(values, ports, history_directory, consistency, mapping_directory, metrics)


def text_of(configuration: Configuration) -> str:
    """Returns the file's text, the same for the same content."""
    values = {
        **configuration.settings,
        "health_ports": dict(configuration.health_ports),
        "history_directory": configuration.history_directory,
        "consistency": dict(configuration.consistency),
        "mapping_directory": configuration.mapping_directory,
        "metrics": dict(configuration.metrics),
    }
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def write(path: Path, configuration: Configuration) -> bool:
    """Writes the file if its content differs, readable only for its owner from the start. Returns whether it did.

    Raises Failed if it cannot be written; the old content remains then.
    """
    if is_written(path, configuration):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text_of(configuration))
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Failed(
            f"{path} could not be written",
            measured=error.strerror or str(error),
            next_step="free space there, or give this user write permission, then run the same command again",
        ) from error
    return True


def is_written(path: Path, configuration: Configuration) -> bool:
    """Returns whether the file has exactly this content, and is readable only for its owner."""
    try:
        return not path.stat().st_mode & 0o077 and path.read_text(encoding="utf-8") == text_of(configuration)
    except (OSError, ValueError):
        return False
