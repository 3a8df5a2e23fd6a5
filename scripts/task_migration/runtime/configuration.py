"""What a long-running service is told, in a file that only its own user may read.

The file names connection strings and passfiles, never a password. It is JSON: the fields of ``sync.Settings``, and
beside them ``health_ports`` ({"forward": 9801, "backward": 9802}), ``history_directory`` ("": no history is kept),
``consistency``, what the hourly check is told beside them, ``mapping_directory`` ("": the Task Service's own), and
``metrics``, where the sync's figures are published ({}: nowhere).
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

_WRITE_AGAIN = "ansible-playbook phase-2.3-dual-write.yml writes it anew"


@dataclass(frozen=True)
class Configuration:
    """One file's content. ``settings`` is what the engine reads; ``health_ports`` a loopback port per direction;
    ``consistency`` further parameters of ``consistency.consistency``; ``metrics`` those of ``metric_data.Publisher``.
    """

    settings: Mapping[str, Any]
    health_ports: Mapping[str, int]
    history_directory: str
    consistency: Mapping[str, Any] = field(default_factory=dict)
    mapping_directory: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)

    def history(self, direction: str) -> Path | None:
        """Where a direction's lag over time is kept; None if nowhere."""
        return Path(self.history_directory) / f"lag-{direction}.jsonl" if self.history_directory else None


def history_below(service_directory: Path) -> Path:
    """The folder for the lag over time, below the one of the services."""
    return service_directory / "history"


def read(path: Path) -> Configuration:
    """The configuration in a file. Raises Refused if it is not there, others may read it, or it is not what it says."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except OSError as error:
        raise Refused(f"{path} can't be read", measured=error.strerror or str(error), next_step=_WRITE_AGAIN) from error
    if mode & 0o077:
        raise Refused(
            f"others than its owner may read or write {path}",
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
            f"{path} is no configuration of a service", measured=type(error).__name__, next_step=_WRITE_AGAIN
        ) from error
    return Configuration(values, ports, history_directory, consistency, mapping_directory, metrics)


def text_of(configuration: Configuration) -> str:
    """The file's text, the same for the same content."""
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
    """Makes the file say so, readable for its owner alone from its first byte; says whether it had to be written.

    Raises Failed if it can't be written; what stood there stays then.
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
            next_step="make room there, or let this user write there, then run the same command again",
        ) from error
    return True


def is_written(path: Path, configuration: Configuration) -> bool:
    """Whether the file says exactly that, and is its owner's alone."""
    try:
        return not path.stat().st_mode & 0o077 and path.read_text(encoding="utf-8") == text_of(configuration)
    except (OSError, ValueError):
        return False
