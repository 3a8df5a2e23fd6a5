"""git in somebody's checkout, by plumbing alone: neither the working tree nor the index nor any branch that is there is
touched, no hook runs, and nothing is fetched or pushed.
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
"""What a branch that is not there yet points to, for update-ref."""


@dataclass(frozen=True)
class Checkout:
    """A checkout's top folder, and what git is told beside its arguments."""

    folder: Path
    environment: Mapping[str, str]

    def git(self, *arguments: str, given: bytes = b"") -> bytes:
        """What git answers. Raises Failed with git's own words."""
        return self._answer(arguments, given, good=(0,))

    def asked(self, *arguments: str) -> str:
        """What git answers, as one line; "" if it does not."""
        code, answer, _ = self._run(arguments, b"")
        return "" if code else answer.decode(errors="surrogateescape").strip()

    def found(self, *arguments: str) -> list[str]:
        """The lines that git grep finds."""
        return self._answer(("grep", *arguments), b"", good=(0, 1)).decode(errors="surrogateescape").splitlines()

    def names(self, *arguments: str) -> list[str]:
        """What git lists with -z."""
        return [name for name in self.git(*arguments).decode(errors="surrogateescape").split("\0") if name]

    @contextmanager
    def prepared(self, revision: str, *, write: bool) -> Iterator[Checkout]:
        """The same checkout with an index of its own that holds ``revision``, to make a tree in. Without ``write`` what
        is made there is gone afterwards."""
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
                f"git {arguments[0]} did not work in {self.folder}; no branch was changed",
                measured=complaint or f"exit code {code}",
            )
        return answer

    def _run(self, arguments: Sequence[str], given: bytes) -> tuple[int, bytes, str]:
        # Hooks and a file system monitor are programs of the checkout's own choice.
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
            raise Failed(f"git {arguments[0]} can't be run in {self.folder}", measured=type(error).__name__) from error
        complaint = next((line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()), "")
        return done.returncode, done.stdout, complaint


def opened(folder: str) -> Checkout:
    """The checkout at ``folder``. Raises Refused unless it is the top of one, with a commit and nothing uncommitted."""
    if shutil.which("git") is None:
        raise Refused("git is not on this machine", next_step="install git, then run the same command again")
    # Whatever an operator's shell says of another repository must not reach this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Looking refreshes no index.
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    found = Checkout(Path(folder), environment)
    top = found.asked("rev-parse", "--show-toplevel") if found.folder.is_dir() else ""
    if not top or Path(top).resolve() != found.folder.resolve():
        raise Refused(
            f"{folder} is no checkout of Laravel's code",
            measured=f"it is inside of {top}" if top else "git finds no repository of this user's there",
            allowed="the top folder of a git checkout",
            next_step="correct laravel_checkout, or leave it empty to do this by hand",
        )
    if not found.asked("rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        raise Refused(f"{folder} has no commit yet", next_step="correct laravel_checkout")
    dirty = found.names("status", "--porcelain", "-z", "--untracked-files=normal")
    if dirty:
        raise Refused(
            f"{folder} holds what is not committed",
            measured=f"{len(dirty)} files: {', '.join(name[3:] for name in dirty[:5])}",
            allowed="a clean checkout, so that the commit holds what is meant and nothing else",
            next_step="commit it or put it away with git stash --include-untracked, then run the same command again",
        )
    return found
