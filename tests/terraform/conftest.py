"""Fixtures: Terraform on a copy of the project's modules and environments, with a provider.

    def test_something(root):
        staging = root("environments/staging")      # initialised, its state beside it
        staging.apply()

The provider is ``stand_in``'s, one for each process. Where a registry of providers can be reached,
``TASK_MIGRATION_AWS_PROVIDER=real`` has the real one checked against instead; what would ask AWS is skipped then.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from roots import Root, copy_of, ready_root, taken_from
from stand_in import serving

IS_REAL = os.environ.get("TASK_MIGRATION_AWS_PROVIDER") == "real"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and shutil.which("terraform") is None:
            item.add_marker(pytest.mark.skip(reason="terraform is not installed"))


@pytest.fixture(scope="session")
def provider() -> Iterator[dict[str, str]]:
    """What Terraform's environment needs to find the provider."""
    if IS_REAL:
        yield {}
        return
    with serving() as environment:
        yield environment


@pytest.fixture(scope="session")
def stand_in(provider: dict[str, str]) -> dict[str, str]:
    """The same for a test that applies, which a real provider would do in AWS."""
    if IS_REAL:
        pytest.skip("a real provider would ask AWS")
    return provider


@pytest.fixture
def checkout(project: Path, tmp_path: Path) -> Path:
    """A copy of ``terraform/`` that a test may change."""
    return copy_of(project, tmp_path / "terraform")


@pytest.fixture(scope="session")
def initialised(
    project: Path, tmp_path_factory: pytest.TempPathFactory, provider: dict[str, str]
) -> Callable[[str], Path]:
    """Each root module, initialised once: where it is, by name."""

    @cache
    def once(name: str) -> Path:
        directory = tmp_path_factory.mktemp("initialised")
        ready_root(copy_of(project, directory / "terraform"), directory / "data", name, provider)
        return directory

    return once


@pytest.fixture
def root(initialised: Callable[[str], Path], tmp_path: Path, provider: dict[str, str]) -> Callable[[str], Root]:
    """``root("modules/iam")`` is ready for every verb; an environment's state is a file, and not in S3."""
    return lambda name: taken_from(initialised(name), name, tmp_path, provider)


@pytest.fixture(scope="session")
def applied(project: Path, tmp_path_factory: pytest.TempPathFactory, stand_in: dict[str, str]) -> Callable[[str], Path]:
    """Each environment in AWS, applied once: where it is, by name."""

    @cache
    def once(name: str) -> Path:
        directory = tmp_path_factory.mktemp("applied")
        ready = ready_root(copy_of(project, directory / "terraform"), directory / "data", name, stand_in)
        ready.apply()
        return directory

    return once


@pytest.fixture
def standing(applied: Callable[[str], Path], tmp_path: Path, stand_in: dict[str, str]) -> Callable[[str], Root]:
    """An environment that was applied, to do with as one likes."""
    return lambda name: taken_from(applied(name), name, tmp_path, stand_in)
