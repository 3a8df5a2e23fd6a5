"""Calls a core function as its module does: with the flat options that are documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from task_migration.options import arguments_of
from task_migration.outcome import Outcome


def call(function: Callable[..., Outcome], **options: Any) -> Outcome:
    return function(**arguments_of(function, options))
