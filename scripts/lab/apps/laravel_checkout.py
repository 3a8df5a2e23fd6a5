"""Laravel's code in the lab: a git checkout of a small application with the task folders and routes of the plan."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path

from task_migration.errors import Failed

_COMMITTER = ("user.name=The lab", "user.email=lab@example.com")


def exists(folder: Path) -> bool:
    return (folder / ".git").exists()


def make(folder: Path) -> bool:
    """Creates the checkout with one commit on the branch ``main``. Returns False if it exists. Raises Failed with git's
    error."""
    if exists(folder):
        return False
    new = folder.with_name(f"{folder.name}.new")  # renamed when it is complete
    for path in (new, folder):
        shutil.rmtree(path, ignore_errors=True)
    with as_file(files("lab") / "apps" / "laravel_code") as code:
        shutil.copytree(code, new, ignore=shutil.ignore_patterns("__pycache__"))
    _git(new, "init", "--quiet", "--initial-branch=main")
    for setting in _COMMITTER:  # only in this checkout: a commit needs a name
        _git(new, "config", *setting.split("=", 1))
    _git(new, "add", "--all")
    _git(new, "commit", "--quiet", "--no-verify", "--message", "The application, as it serves tasks")
    new.rename(folder)
    return True


def _git(folder: Path, *words: str) -> None:
    result = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    if result.returncode:
        raise Failed(
            f"git {words[0]} failed in {folder}",
            measured=result.stderr.strip() or f"exit code {result.returncode}",
            next_step="ansible-playbook lab-up.yml",
        )
