"""Runs git plumbing commands in a checkout of Laravel's code.

The working tree, the index and existing branches are not changed, no hook runs, and nothing is fetched or pushed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from task_migration.errors import Failed, Refused

TIMEOUT_SECONDS = 120.0
NOTHING = ""
"""The old value of a branch that does not exist yet, for update-ref."""


@dataclass(frozen=True)
class Checkout:
    """A checkout's top folder, and the environment that git runs in."""

    folder: Path
    environment: Mapping[str, str]

    def git(self, *arguments: str, given: bytes = b"") -> bytes:
        """Returns git's output. Raises Failed with git's error."""
        return self._answer(arguments, given, good=(0,))

    def asked(self, *arguments: str) -> str:
        """Returns git's output as one line; "" if git fails."""
        code, answer, _ = self._run(arguments, b"")
        return "" if code else answer.decode(errors="surrogateescape").strip()

    def found(self, *arguments: str) -> list[str]:
        """Returns the lines that git grep finds."""
        return self._answer(("grep", *arguments), b"", good=(0, 1)).decode(errors="surrogateescape").splitlines()

    def names(self, *arguments: str) -> list[str]:
        """Returns the names that git lists with -z."""
        return [name for name in self.git(*arguments).decode(errors="surrogateescape").split("\0") if name]

    @contextmanager
    def prepared(self, revision: str, *, write: bool) -> Iterator[Checkout]:
        """Yields the same checkout with a temporary index that holds ``revision``, to build a tree in. Without
        ``write`` the objects that are created there are removed afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            environment = {**self.environment, "GIT_INDEX_FILE": f"{folder}/index"}
            if not write:
                true = self.folder / self.asked("rev-parse", "--git-path", "objects")
                Path(folder, "objects").mkdir()
                environment |= {
                    "GIT_OBJECT_DIRECTORY": f"{folder}/objects",
                    "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(true),
                }
            inner = replace(self, environment=environment)
            inner.git("read-tree", revision)
            yield inner

    def _answer(self, arguments: Sequence[str], given: bytes, good: Sequence[int]) -> bytes:
        code, answer, complaint = self._run(arguments, given)
        if code not in good:
            raise Failed(
                f"git {arguments[0]} failed in {self.folder}; no branch was changed",
                measured=complaint or f"exit code {code}",
                next_step="correct the cause, then run the same command again",
            )
        return answer

    def _run(self, arguments: Sequence[str], given: bytes) -> tuple[int, bytes, str]:
        # Hooks and a file system monitor are programs that the checkout's configuration chooses.
        settings = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
        try:
            done = subprocess.run(
                ["git", "-C", str(self.folder), *settings, *arguments],
                input=given,
                capture_output=True,
                env=dict(self.environment),
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failed(
                f"git {arguments[0]} did not finish in {self.folder}; no branch was changed",
                measured=type(error).__name__,
                next_step="run the same command again",
            ) from error
        complaint = next((line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()), "")
        return done.returncode, done.stdout, complaint


def opened(folder: str) -> Checkout:
    """Returns the checkout at ``folder``.

    Raises Refused if it is not the top folder of a checkout, has no commit, or has uncommitted changes.
    """
    if shutil.which("git") is None:
        raise Refused("git is not installed", next_step="install git, then run the same command again")
    # Variables in the operator's shell may point git to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Reading must not refresh the index.
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    found = Checkout(Path(folder), environment)
    top = found.asked("rev-parse", "--show-toplevel") if found.folder.is_dir() else ""
    if not top or Path(top).resolve() != found.folder.resolve():
        raise Refused(
            f"{folder} is not a checkout of Laravel's code",
            measured=f"it is inside {top}" if top else "git finds no repository of this user there",
            allowed="the top folder of a git checkout",
            next_step="correct laravel_checkout in the inventory, or leave it empty and remove the code by hand",
        )
    if not found.asked("rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        raise Refused(f"{folder} has no commit yet", next_step="correct laravel_checkout in the inventory")
    dirty = found.names("status", "--porcelain", "-z", "--untracked-files=normal")
    if dirty:
        raise Refused(
            f"{folder} has uncommitted changes",
            measured=f"{len(dirty)} files: {', '.join(name[3:] for name in dirty[:5])}",
            allowed="a clean checkout",
            next_step=f"git -C {folder} stash --include-untracked, or commit; then run the same command again",
        )
    return found
