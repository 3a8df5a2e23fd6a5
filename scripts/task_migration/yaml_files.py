"""Loads the YAML files beside the modules that use them, and the YAML in the headers of mapping files."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

# libyaml's loader reads parameters.yml in a tenth of the time; PyYAML may be built without it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """Returns the content of a YAML text. Raises yaml.YAMLError if it is not valid."""
    return yaml.load(text, Loader=_LOADER)


def read(path: str) -> Any:
    """Returns the content of one file, by its path below task_migration/ ("control/checklist.yml")."""
    return load((files("task_migration") / path).read_text(encoding="utf-8"))
