"""Laravel's task code out of a real checkout: one commit on a branch of its own, and nothing else is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from task_migration.errors import Refused
from task_migration.finish.laravel_code import BRANCH, laravel_code


def php(namespace: str, *lines: str) -> str:
    return "\n".join(["<?php", "", f"namespace App\\{namespace};", "", *lines, ""])


FILES = {
    "composer.json": "{}\n",
    "app/Http/Actions/Task/CreateTask.php": php("Http\\Actions\\Task", "final class CreateTask", "{", "}"),
    "app/Http/Actions/Task/Sub/ListTasks.php": php("Http\\Actions\\Task\\Sub", "class ListTasks {}"),
    "app/Services/Task/TaskService.php": php("Services\\Task", "class TaskService {}"),
    "app/Services/Task/TaskServiceInterface.php": php("Services\\Task", "interface TaskServiceInterface {}"),
    "app/Services/TaskList.php": php("Services", "class TaskList {}"),
    "app/Repositories/Task/タスク.php": php("Repositories\\Task", "class TaskRepository {}"),
    "app/Models/Task.php": php("Models", "class Task {}"),
    "app/Providers/AppServiceProvider.php": php(
        "Providers",
        "use App\\Services\\Task\\TaskService;",
        "use App\\Services\\Task\\{TaskServiceInterface};",
        "use App\\Services\\TaskList;",
        "class AppServiceProvider",
        "{",
        "    public $bound = ['App\\\\Repositories\\\\Task\\\\TaskRepository'];",
        "}",
    ),
    "app/Http/Controllers/ホーム.php": "<?php\n\nreturn view('tasks.index', ['x' => 1]);\n",
    "resources/views/tasks/index.blade.php": "<p>tasks</p>\n",
    "resources/views/home.blade.php": "@include('tasks.index')\n<p>home</p>\n",
    "routes/web.php": """<?php

use App\\Http\\Actions\\Task\\CreateTask;
use App\\Http\\Controllers\\Home;
use Illuminate\\Support\\Facades\\Route;

Route::get('/', Home::class);

Route::middleware('auth')->group(function () {
    Route::post('/tasks', CreateTask::class)->name('tasks.store');
    Route::get('/tags', 'Tags');
});
Route::resources(['tasks' => 'X', 'notes' => 'Y']);
""",
}
ROUTES_AFTER = """<?php

use App\\Http\\Controllers\\Home;
use Illuminate\\Support\\Facades\\Route;

Route::get('/', Home::class);

Route::middleware('auth')->group(function () {
    Route::get('/tags', 'Tags');
});
Route::resources(['tasks' => 'X', 'notes' => 'Y']);
"""


class Laravel:
    """A checkout of a small application."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "anna@example.com")
        self.git("config", "user.name", "Anna")
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.commit("the application")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", str(self.folder), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def everything(self) -> dict[str, tuple[int, bytes]]:
        """Every file of the checkout and of its .git: when it was written, and what it holds."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    def remove(self, check: bool = False):
        return laravel_code(laravel_checkout=str(self.folder), check=check)


@pytest.fixture
def laravel(tmp_path: Path) -> Laravel:
    return Laravel(tmp_path / "laravel")


def test_one_commit_on_a_branch_of_its_own_holds_the_removal_and_the_checkout_stays_as_it_is(laravel: Laravel) -> None:
    head, refs = laravel.git("rev-parse", "HEAD"), laravel.git("for-each-ref")
    before = {path: seen for path, seen in laravel.everything().items() if "/.git/" not in path}
    index = (laravel.folder / ".git/index").read_bytes()
    done = laravel.remove()
    assert done.changed
    assert done.details["files"] == 6
    assert laravel.git("rev-list", f"main..{BRANCH}") == laravel.git("rev-parse", BRANCH) == done.details["commit"]
    assert laravel.git("rev-parse", f"{BRANCH}^") == head == laravel.git("rev-parse", "HEAD")
    assert laravel.git("for-each-ref") == f"{refs}\n{done.details['commit']} commit\trefs/heads/{BRANCH}"
    assert laravel.git("show", f"{BRANCH}:routes/web.php") + "\n" == ROUTES_AFTER
    changed = laravel.git("-c", "core.quotePath=false", "diff", "--name-status", "main", BRANCH).splitlines()
    gone = [name for name in FILES if "/Task/" in name or "/tasks/" in name]
    assert sorted(changed) == sorted([*(f"D\t{name}" for name in gone), "M\troutes/web.php"])
    message = laravel.git("log", "-1", "--format=%an%n%B", BRANCH)
    assert message.startswith("Anna\nRemove the task code")
    assert "and 1 routes below /tasks in routes/web.php" in message
    assert (laravel.folder / ".git/index").read_bytes() == index
    assert {path: seen for path, seen in laravel.everything().items() if "/.git/" not in path} == before
    assert laravel.git("status", "--porcelain") == ""
    again = laravel.remove()
    assert (again.changed, again.details["commit"]) == (False, done.details["commit"])
    assert again.lines == done.lines


def test_what_still_refers_to_what_went_is_named_by_file_and_line(laravel: Laravel) -> None:
    done = laravel.remove()
    assert done.details["references"] == [
        "app/Providers/AppServiceProvider.php:5: App\\Services\\Task\\TaskService",
        "app/Providers/AppServiceProvider.php:6: App\\Services\\Task\\...",
        "app/Providers/AppServiceProvider.php:10: App\\Repositories\\Task\\TaskRepository",
        "app/Http/Controllers/ホーム.php:3: a view of resources/views/tasks",
        "resources/views/home.blade.php:1: a view of resources/views/tasks",
    ]
    (doubt,) = done.details["doubtful"]
    assert doubt.startswith("13: Route::resources(['tasks'")
    assert f"left, check it: routes/web.php:{doubt}" in done.lines
    assert (
        "5 places still refer to removed code; 1 statements of routes/web.php were left and need a check"
        in done.message
    )


def test_check_mode_predicts_and_leaves_not_one_byte(laravel: Laravel) -> None:
    before = laravel.everything()
    predicted = laravel.remove(check=True)
    assert laravel.everything() == before
    done = laravel.remove()
    assert predicted.changed
    assert predicted.details == {**done.details, "commit": ""}
    assert not laravel.remove(check=True).changed


def test_where_the_code_is_gone_already_there_is_nothing_to_do(laravel: Laravel) -> None:
    laravel.remove()
    laravel.git("merge", "-q", BRANCH)
    again = laravel.remove()
    assert (again.changed, again.details["commit"]) == (False, "")
    assert "no task code is there" in again.message


@pytest.mark.parametrize("name", ["app/Models/Task.php", "notes.txt"])
def test_a_dirty_tree_is_refused(laravel: Laravel, name: str) -> None:
    (laravel.folder / name).write_text("not committed\n")
    before = laravel.everything()
    with pytest.raises(Refused, match=rf"uncommitted changes; measured: 1 files: {name};"):
        laravel.remove()
    assert laravel.everything() == before


def test_a_branch_with_anything_else_on_it_is_refused(laravel: Laravel) -> None:
    done = laravel.remove()
    (laravel.folder / "composer.json").write_text('{"changed": true}\n')
    laravel.commit("the application goes on")
    with pytest.raises(Refused, match=r"exists with other content; measured: \w+ Remove the task code.*git branch -D"):
        laravel.remove()
    laravel.git("checkout", "-q", "-B", BRANCH, "main")
    laravel.git("checkout", "-q", "main")
    with pytest.raises(Refused, match=r"exists with other content; measured: .* the application goes on"):
        laravel.remove()
    laravel.git("branch", "-q", "-D", BRANCH)
    assert laravel.remove().details["commit"] != done.details["commit"]


def test_what_is_no_checkout_is_refused(laravel: Laravel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, said in (
        (tmp_path / "nowhere", "git finds no repository"),
        (tmp_path / "empty", "git finds no repository"),
        (laravel.folder / "app", "it is inside"),
    ):
        with pytest.raises(Refused, match=said):
            laravel_code(laravel_checkout=str(folder))
    subprocess.run(["git", "init", "-q", str(tmp_path / "empty")], check=True)
    with pytest.raises(Refused, match="has no commit yet"):
        laravel_code(laravel_checkout=str(tmp_path / "empty"))


def test_hooks_of_the_checkout_and_an_operators_environment_have_no_say(
    laravel: Laravel, tmp_path: Path, monkeypatch
) -> None:
    for name in ("pre-commit", "post-commit", "reference-transaction", "post-index-change"):
        hook = laravel.folder / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\nexit 1\n")
        os.chmod(hook, 0o755)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert laravel.remove().changed
    assert not (tmp_path / "hook-ran").exists()


def test_routes_that_are_not_understood_are_left_and_said(laravel: Laravel) -> None:
    (laravel.folder / "routes/web.php").write_text("<?php\nRoute::get('/tasks', 'X');\nf(;\n")
    laravel.commit("no PHP")
    done = laravel.remove()
    assert done.changed
    assert done.details["doubtful"] == ["the whole file, line 3: f(;"]
    assert laravel.git("diff", "--name-only", "main", BRANCH, "--", "routes") == ""
