"""Laravel's task code, taken out of a checkout as one commit on a branch of its own.

What goes is the plan's: four folders, and the routes below /tasks in routes/web.php. The commit is made beside the
working tree, which stays as it is; it is never pushed and never merged. That is for whoever reviews and deploys it.
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
class _Made:
    """The tree without the task code: how many ``files`` went, the ``routes`` that went and those in ``doubt``, and
    what still ``refers`` to what went, as "app/Models/User.php:12: App\\Services\\Task\\TaskService"."""

    tree: str
    files: int
    routes: list[str]
    doubt: list[str]
    refers: list[str]


def laravel_code(*, laravel_checkout: str, check: bool = False) -> Outcome:
    """Commits the removal of Laravel's task code to the branch ``task-service-cleanup``, from what is checked out.

    Details: ``branch``, ``commit`` ("" if there is none), ``files`` that went, ``routes`` that went, ``doubtful``
    statements of the routes that were left, ``references`` to what went. Raises Refused for what is no clean checkout,
    and if the branch is there with anything else on it.
    """
    checkout = opened(laravel_checkout)
    head = checkout.asked("rev-parse", "HEAD")
    with checkout.prepared(head, write=not check) as beside:
        made = _made(beside, head)
        if made.tree == checkout.asked("rev-parse", f"{head}^{{tree}}"):
            return _outcome(False, "holds no task code, so there is nothing to remove", "", made)
        branch = checkout.asked("rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}")
        if branch:
            _refuse_other(checkout, branch, head, made.tree)
            return _outcome(False, f"is without the task code on the branch {BRANCH} already", branch, made)
        if check:
            return _outcome(True, f"would be without the task code on a new branch {BRANCH}", "", made)
        commit = _commit(beside, made, head)
    checkout.git("update-ref", "-m", "task migration: clean-up", f"refs/heads/{BRANCH}", commit, NOTHING)
    return _outcome(True, f"is without the task code on the new branch {BRANCH}", commit, made)


def _made(beside: Checkout, head: str) -> _Made:
    """Makes that tree in an index of its own."""
    files = beside.names("ls-files", "-z", "--", *FOLDERS)
    classes = {name for file in files if file.endswith(".php") for name in _declared(beside, head, file)}
    if files:
        beside.git(
            "update-index", "-z", "--force-remove", "--stdin", given="\0".join(files).encode(errors="surrogateescape")
        )
    taken = php_routes.Taken(b"")
    entry = beside.asked("ls-files", "--stage", "--", ROUTES)
    if entry:
        mode, blob = entry.split()[:2]
        before = beside.git("cat-file", "blob", blob)
        try:
            taken = php_routes.without(before, PATH)
            after = php_routes.without_imports(taken.text, classes)
        except php_routes.Unreadable as reason:
            taken, after = php_routes.Taken(before, doubtful=[f"the whole file, {reason}"]), before
        if after != before:
            changed = beside.git("hash-object", "-w", "--stdin", given=after)
            beside.git("update-index", "--cacheinfo", f"{mode},{changed.decode().strip()},{ROUTES}")
    tree = beside.asked("write-tree")
    return _Made(tree, len(files), taken.removed, taken.doubtful, list(_references(beside, tree, classes, files)))


def _declared(beside: Checkout, head: str, file: str) -> Iterable[str]:
    return php_routes.declared(beside.git("cat-file", "blob", f"{head}:{file}"))


def _references(beside: Checkout, tree: str, classes: set[str], files: list[str]) -> Iterable[str]:
    """Where what is left speaks of what went: first classes by name, then views of the folder that went."""
    if classes:
        spoken = {name: rf"{_spoken(name)}($|[^A-Za-z0-9_])" for name in classes}
        for namespace in {name.rpartition("\\")[0] for name in classes} - {""}:
            # use App\Services\Task\{One, Other}; and use App\Services\Task;
            spoken[f"{namespace}\\..."] = rf"{_spoken(namespace)}(\\\{{|[[:space:]]*;|[[:space:]]+as[[:space:]])"
        compiled = {name: re.compile(tail.replace("[:space:]", r"\s")) for name, tail in spoken.items()}
        for place, line in _found(beside, tree, "|".join(sorted(spoken.values()))):
            for name in sorted(name for name, tail in compiled.items() if tail.search(line)):
                yield f"{place}: {name}"
    if any(file.startswith(f"{FOLDERS[3]}/") for file in files):
        for place, _ in _found(beside, tree, _VIEW):
            yield f"{place}: a view of {FOLDERS[3]}"


def _spoken(name: str) -> str:
    """The end of a name as it stands in every import of it, with \\\\ for \\ in a string."""
    return r"\\{1,2}".join(name.split("\\")[-2:])


def _found(beside: Checkout, tree: str, pattern: str) -> Iterable[tuple[str, str]]:
    """Each line of PHP with the pattern: "file:line", and the line."""
    for one in beside.found("-n", "-I", "-E", "--full-name", "-e", pattern, tree, "--", "*.php", ":!vendor"):
        file, line, text = one.removeprefix(f"{tree}:").split(":", 2)
        yield f"{file}:{line}", text


def _refuse_other(checkout: Checkout, branch: str, head: str, tree: str) -> None:
    """Raises Refused unless the branch is what this would make of what is checked out."""
    parent = checkout.asked("rev-parse", "--verify", "--quiet", f"{branch}^")
    if parent == head and checkout.asked("rev-parse", f"{branch}^{{tree}}") == tree:
        return
    raise Refused(
        f"the branch {BRANCH} is there, and holds something else",
        measured=f"{checkout.asked('log', '-1', '--format=%h %s', branch)}, upon {parent[:9] or 'nothing'}",
        allowed=f"no such branch, or the removal of the task code from {head[:9]}, which is checked out",
        next_step=f"check that branch out, or merge it, or delete it: git branch -D {BRANCH}",
    )


def _commit(beside: Checkout, made: _Made, head: str) -> str:
    if not beside.asked("var", "GIT_AUTHOR_IDENT"):
        raise Refused(
            "git does not know whose commit this is",
            measured="no user.name and user.email",
            next_step=f"git -C {beside.folder} config user.email you@example.com, and user.name",
        )
    gone = [str(PurePosixPath(folder)) for folder in FOLDERS if _is_in(beside, head, folder)]
    routes = f"{' and ' if gone else ''}{len(made.routes)} routes below /{PATH} in {ROUTES}" if made.routes else ""
    message = _MESSAGE.format(folders=", ".join(gone), routes=routes)
    return beside.git("commit-tree", made.tree, "-p", head, given=message.encode()).decode().strip()


def _is_in(checkout: Checkout, revision: str, folder: str) -> bool:
    return bool(checkout.asked("rev-parse", "--verify", "--quiet", f"{revision}:{folder}"))


def _outcome(changed: bool, told: str, commit: str, made: _Made) -> Outcome:
    went = f": {made.files} files and {len(made.routes)} routes" if made.files or made.routes else ""
    left = [f"{len(made.refers)} places still refer to what went"] if made.refers else []
    left += [f"{len(made.doubt)} statements of {ROUTES} were left in doubt"] if made.doubt else []
    lines = [
        *(f"goes: {ROUTES}:{one}" for one in made.routes),
        *(f"left, look at it: {ROUTES}:{one}" for one in made.doubt),
        *(f"still refers: {one}" for one in made.refers[:NAMED]),
        *([f"still refers: {len(made.refers) - NAMED} more"] if len(made.refers) > NAMED else []),
    ]
    return Outcome(
        changed,
        f"Laravel's code: {told}{went}" + "".join(f"; {one}" for one in left),
        {
            "branch": BRANCH,
            "commit": commit,
            "files": made.files,
            "routes": made.routes,
            "doubtful": made.doubt,
            "references": made.refers[:NAMED],
            "reference_count": len(made.refers),
        },
        tuple(lines),
    )
