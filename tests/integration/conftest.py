"""Fixtures: two sides, bare, prepared or copied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sides import Sides


@pytest.fixture
def make_sides(
    laravel_database: Callable[..., Any], task_service_database: Callable[[], Any], tmp_path: Path
) -> Callable[..., Sides]:
    """``make_sides(tasks=150)``: nothing of ours on either side yet."""

    def make(tasks: int = 150) -> Sides:
        laravel, target = laravel_database(tasks), task_service_database()
        return Sides(laravel.dsn, laravel.owner_dsn, target.dsn, tmp_path / "reports")

    return make


@pytest.fixture
def sides(make_sides: Callable[..., Sides]) -> Sides:
    """Prepared, not copied."""
    made = make_sides()
    made.prepare()
    return made


@pytest.fixture
def copied(sides: Sides) -> Sides:
    """Prepared and copied."""
    sides.copy()
    return sides
