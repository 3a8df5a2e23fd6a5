"""Removes Laravel's task code from a checkout, in one commit on a branch of its own.

It removes what the plan lists: four folders, and the routes below /tasks in routes/web.php. The working tree is not
changed. The commit is never pushed and never merged: Laravel's developers review and deploy it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from task_migration.errors import Refused
from task_migration.external.git_checkout import NOTHING, Checkout, opened
from task_migration.finish import php_routes
from task_migration.outcome import Outcome

BRANCH = "task-service-cleanup"
FOLDERS = ("app/Http/Actions/Task", "app/Services/Task", "app/Repositories/Task", "resources/views/tasks")
ROUTES = "routes/web.php"
PATH = "tasks"
NAMED = 50
_MESSAGE = """Remove the task code, which the Task Service has taken over

Removes {folders}{routes}.
"""
_VIEW = rf"""(view|make|render|include[A-Za-z]*|extends|component|each|first)\s*\(\s*\[?\s*['"]{PATH}[./]"""


@dataclass(frozen=True)
class _Removal:
    """The tree without the task code: how many ``files`` and which ``routes`` were removed, which routes are in
    ``doubt``, and what still ``refers`` to removed code, as "app/Models/User.php:12:
    App\\Services\\Task\\TaskService"."""

    tree: str
    files: int
    routes: list[str]
    doubt: list[str]
    refers: list[str]


def laravel_code(*, laravel_checkout: str, check: bool = False) -> Outcome:
    """Commits the removal of Laravel's task code to the branch ``task-service-cleanup``, based on what is checked out.

    Details: ``branch``, ``commit`` ("" if there is none), the number of ``files`` and the ``routes`` removed, the
    ``doubtful`` statements of the routes file that were left, ``references`` to removed code. Raises Refused if this is
    not a clean checkout, or if the branch exists with other content.
    """
    checkout = opened(laravel_checkout)
    head = checkout.asked("rev-parse", "HEAD")
    with checkout.prepared(head, write=not check) as beside:
        removal = _removed(beside, head)
        if removal.tree == checkout.asked("rev-parse", f"{head}^{{tree}}"):
            return _outcome(False, "no task code is there, so there is nothing to remove", "", removal)
        branch = checkout.asked("rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}")
        if branch:
            _refuse_other_content(checkout, branch, head, removal.tree)
            return _outcome(False, f"the task code is already removed on the branch {BRANCH}", branch, removal)
        if check:
            return _outcome(True, f"the task code would be removed on a new branch {BRANCH}", "", removal)
        commit = _commit(beside, removal, head)
    checkout.git("update-ref", "-m", "task migration: clean-up", f"refs/heads/{BRANCH}", commit, NOTHING)
    return _outcome(True, f"the task code is removed on the new branch {BRANCH}", commit, removal)


def _removed(beside: Checkout, head: str) -> _Removal:
    """Builds that tree in an index of its own."""
    files = beside.names("ls-files", "-z", "--", *FOLDERS)
    classes = {name for file in files if file.endswith(".php") for name in _declared(beside, head, file)}
    if files:
        beside.git(
            "update-index", "-z", "--force-remove", "--stdin", given="\0".join(files).encode(errors="surrogateescape")
        )
    routes = php_routes.WithoutRoutes(b"")
    entry = beside.asked("ls-files", "--stage", "--", ROUTES)
    if entry:
        mode, blob = entry.split()[:2]
        before = beside.git("cat-file", "blob", blob)
        try:
            routes = php_routes.without_routes(before, PATH)
            after = php_routes.without_imports(routes.text, classes)
        except php_routes.UnreadablePhp as reason:
            routes, after = php_routes.WithoutRoutes(before, doubtful=[f"the whole file, {reason}"]), before
        if after != before:
            changed = beside.git("hash-object", "-w", "--stdin", given=after)
            beside.git("update-index", "--cacheinfo", f"{mode},{changed.decode().strip()},{ROUTES}")
    tree = beside.asked("write-tree")
    references = list(_references(beside, tree, classes, files))
    return _Removal(tree, len(files), routes.removed, routes.doubtful, references)


def _declared(beside: Checkout, head: str, file: str) -> Iterable[str]:
    return php_routes.declared_classes(beside.git("cat-file", "blob", f"{head}:{file}"))


def _references(beside: Checkout, tree: str, classes: set[str], files: list[str]) -> Iterable[str]:
    """Yields where the rest refers to removed code: first classes by name, then views of the removed folder."""
    if classes:
        patterns = {name: rf"{_pattern(name)}($|[^A-Za-z0-9_])" for name in classes}
        for namespace in {name.rpartition("\\")[0] for name in classes} - {""}:
            # use App\Services\Task\{One, Other}; and use App\Services\Task;
            patterns[f"{namespace}\\..."] = rf"{_pattern(namespace)}(\\\{{|[[:space:]]*;|[[:space:]]+as[[:space:]])"
        compiled = {name: re.compile(tail.replace("[:space:]", r"\s")) for name, tail in patterns.items()}
        for place, line in _found(beside, tree, "|".join(sorted(patterns.values()))):
            for name in sorted(name for name, tail in compiled.items() if tail.search(line)):
                yield f"{place}: {name}"
    if any(file.startswith(f"{FOLDERS[3]}/") for file in files):
        for place, _ in _found(beside, tree, _VIEW):
            yield f"{place}: a view of {FOLDERS[3]}"


def _pattern(name: str) -> str:
    """Returns a pattern for the end of a name, as every import has it; a string has \\\\ for \\."""
    return r"\\{1,2}".join(name.split("\\")[-2:])


def _found(beside: Checkout, tree: str, pattern: str) -> Iterable[tuple[str, str]]:
    """Yields each line of PHP that matches: "file:line", and the line."""
    for one in beside.found("-n", "-I", "-E", "--full-name", "-e", pattern, tree, "--", "*.php", ":!vendor"):
        file, line, text = one.removeprefix(f"{tree}:").split(":", 2)
        yield f"{file}:{line}", text


def _refuse_other_content(checkout: Checkout, branch: str, head: str, tree: str) -> None:
    """Raises Refused unless the branch has what this command would commit now."""
    parent = checkout.asked("rev-parse", "--verify", "--quiet", f"{branch}^")
    if parent == head and checkout.asked("rev-parse", f"{branch}^{{tree}}") == tree:
        return
    raise Refused(
        f"the branch {BRANCH} exists with other content",
        measured=f"{checkout.asked('log', '-1', '--format=%h %s', branch)}, on {parent[:9] or 'nothing'}",
        allowed=f"no such branch, or the removal of the task code from {head[:9]}, which is checked out",
        next_step=f"check out that branch, or merge it, or delete it: git branch -D {BRANCH}",
    )


def _commit(beside: Checkout, removal: _Removal, head: str) -> str:
    if not beside.asked("var", "GIT_AUTHOR_IDENT"):
        raise Refused(
            "git has no author for the commit",
            measured="user.name or user.email is not set",
            next_step=f"git -C {beside.folder} config user.email you@example.com, and user.name",
        )
    gone = [str(PurePosixPath(folder)) for folder in FOLDERS if _is_in(beside, head, folder)]
    routes = (
        f"{' and ' if gone else ''}{len(removal.routes)} routes below /{PATH} in {ROUTES}" if removal.routes else ""
    )
    message = _MESSAGE.format(folders=", ".join(gone), routes=routes)
    return beside.git("commit-tree", removal.tree, "-p", head, given=message.encode()).decode().strip()


def _is_in(checkout: Checkout, revision: str, folder: str) -> bool:
    return bool(checkout.asked("rev-parse", "--verify", "--quiet", f"{revision}:{folder}"))


def _outcome(changed: bool, state: str, commit: str, removal: _Removal) -> Outcome:
    counts = f": {removal.files} files and {len(removal.routes)} routes" if removal.files or removal.routes else ""
    left = [f"{len(removal.refers)} places still refer to removed code"] if removal.refers else []
    left += [f"{len(removal.doubt)} statements of {ROUTES} were left and need a check"] if removal.doubt else []
    lines = [
        *(f"is removed: {ROUTES}:{one}" for one in removal.routes),
        *(f"left, check it: {ROUTES}:{one}" for one in removal.doubt),
        *(f"still refers: {one}" for one in removal.refers[:NAMED]),
        *([f"still refers: {len(removal.refers) - NAMED} more"] if len(removal.refers) > NAMED else []),
    ]
    return Outcome(
        changed,
        f"Laravel's code: {state}{counts}" + "".join(f"; {one}" for one in left),
        {
            "branch": BRANCH,
            "commit": commit,
            "files": removal.files,
            "routes": removal.routes,
            "doubtful": removal.doubt,
            "references": removal.refers[:NAMED],
            "reference_count": len(removal.refers),
        },
        tuple(lines),
    )
