"""The wheel: it contains every file that the installed packages read, and the services' entry points."""

from __future__ import annotations

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".sql", ".yml", ".j2", ".cjs", ".pem", ".php", ".typed"}
PACKAGES = sorted(
    folder.name
    for folder in (ROOT / "scripts").iterdir()
    if folder.is_dir() and folder.suffix != ".egg-info" and folder.name != "__pycache__"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the source tree, since a build writes beside what it reads."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "scripts", source / "scripts", ignore=ignored, symlinks=True)
    link = Path("terraform/modules/observability/metric_data.yml")  # what external/metric_data.yml links to
    (source / link).parent.mkdir(parents=True)
    shutil.copy(ROOT / link, source / link)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", built]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "."], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = built.glob("*.whl")
    with ZipFile(file) as archive:
        yield archive


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_that_a_package_reads_is_in_the_wheel(wheel, package):
    folder = ROOT / "scripts"
    wanted = {
        file.relative_to(folder).as_posix(): file
        for file in (folder / package).rglob("*")
        if file.is_file() and file.suffix in SUFFIXES | {".py"}
    }
    held = set(wheel.namelist())
    assert not sorted(wanted.keys() - held)
    assert not [name for name, file in wanted.items() if wheel.read(name) != file.read_bytes()]


def test_the_roots_of_rds_and_the_linked_metrics_are_in_the_wheel(wheel):
    assert b"BEGIN CERTIFICATE" in wheel.read("task_migration/postgres/rds_roots.pem")
    assert b"SyncHealthy:" in wheel.read("task_migration/external/metric_data.yml")


def test_the_entry_points_are_in_the_wheel_and_name_what_is_there(wheel):
    (name,) = (one for one in wheel.namelist() if one.endswith(".dist-info/entry_points.txt"))
    found = ConfigParser()
    found.read_string(wheel.read(name).decode())
    hosts = dict(found["task_migration.service_hosts"])
    assert hosts.keys() == {"systemd", "process"}
    for target in hosts.values():
        module, _, attribute = target.partition(":")
        assert f"class {attribute}" in wheel.read(f"{module.replace('.', '/')}.py").decode()
