"""Routes below one path are taken out of a routes file, and every other byte stays."""

from __future__ import annotations

import pytest
from task_migration.finish import php_routes
from task_migration.finish.php_routes import UnreadablePhp, declared_classes

KEPT = """<?php

declare(strict_types=1);

use App\\Http\\Actions\\Task\\CreateTask;
use Illuminate\\Support\\Facades\\Route;

// The tasks' routes; Route::get('/tasks', 'not me');
# Route::get('/tasks', 'nor me');
/* Route::get('/tasks', fn () => 'nor { me'); */
Route::get('/', fn () => view('welcome'));
Route::get('/tasks-archive', 'Archive');
Route::get('/users/{user}/tasks', 'OfAUser')->name('tasks.of');
Route::prefix('admin')->group(function () {
    Route::get('/tasks', 'Admin');   // /admin/tasks
    Route::resource('tasks', 'Admin');
});
"""

TASK_ROUTES = [
    "Route::get('/tasks', ListTasks::class);",
    "Route::get('tasks/{task}', [TaskController::class, 'show'])->where('task', '[0-9]+')->name('tasks.show');",
    'Route::post("/tasks", CreateTask::class);',
    "Route::match(['put', 'patch'], '/tasks/{task}', UpdateTask::class);",
    "Route::resource('tasks', TaskController::class)->only(['index', 'show']);",
    "Route::apiResource('tasks.images', ImageController::class);",
    "Route::view('/tasks/help', 'tasks.help');",
    "Route::middleware(['auth', 'verified'])->delete('/tasks/{task}', DeleteTask::class);",
    "Route::get('{task}/history', History::class)->prefix('tasks');",
    "Route::get('/tasks/search', function (Request $r) {\n    return \"; } {$r->q} \\\" '\"; // ; }\n});",
    "Route::prefix('/tasks')->name('tasks.')->group(function () {\n    Route::get('/', 'Index');\n});",
    "Route::group(['middleware' => 'auth', 'prefix' => 'tasks'], function () {\n    Route::get('x', 'X');\n});",
    "Route::prefix('tasks')->group(base_path('routes/tasks.php'));",
    "\\Illuminate\\Support\\Facades\\Route::any('/tasks/any', 'Any');",
    "Route\n    ::get(\n        '/tasks/lines', // of several\n        'Lines'\n    )\n    ->name('tasks.lines');",
]
IN_DOUBT = [
    "Route::get('/' . $tasks . '/tasks', 'X');",
    "Route::resources(['tasks' => TaskController::class, 'photos' => PhotoController::class]);",
    "$router->get('/tasks', 'X');",
    "if (config('old')) {\n    Route::get('/tasks', 'Old');\n}",
    "foreach (['tasks', 'notes'] as $one) {\n    Route::get($one, 'X');\n}",
    "Route::prefix($prefix)->group(function () {\n    Route::get('/tasks', 'X');\n});",
    "Route::group($attributes, function () {\n    Route::get('/tasks', 'X');\n});",
]


def without(text: str, path: str) -> php_routes.WithoutRoutes:
    return php_routes.without_routes(text.encode(), path)


def test_what_is_not_below_the_path_stays_byte_for_byte() -> None:
    taken = without(KEPT, "tasks")
    assert (taken.text.decode(), taken.removed, taken.doubtful) == (KEPT, [], [])


@pytest.mark.parametrize("route", TASK_ROUTES)
def test_a_route_goes_with_its_lines_alone(route: str) -> None:
    taken = without(f"{KEPT}{route}  // of tasks\nRoute::get('/after', 'After');\n", "tasks")
    assert taken.text.decode() == f"{KEPT}Route::get('/after', 'After');\n"
    assert taken.doubtful == []
    assert [one.partition(":")[0] for one in taken.removed] == [str(KEPT.count("\n") + 1)]


@pytest.mark.parametrize("route", TASK_ROUTES)
def test_it_goes_out_of_groups_that_add_nothing_to_the_path(route: str) -> None:
    opened = f"{KEPT}Route::middleware('auth')->name('x.')->group(static function () use ($x): void {{\n"
    opened += "    Route::controller(C::class)->group(function () {\n"
    taken = without(f"{opened}        {route}\n        Route::get('/notes', 'N');\n    }});\n}});\n", "tasks")
    assert taken.text.decode() == f"{opened}        Route::get('/notes', 'N');\n    }});\n}});\n"


@pytest.mark.parametrize("statement", IN_DOUBT)
def test_what_nobody_can_tell_apart_is_left_and_named(statement: str) -> None:
    text = f"{KEPT}{statement}\n"
    taken = without(text, "tasks")
    assert (taken.text.decode(), taken.removed) == (text, [])
    assert taken.doubtful[0].startswith(f"{KEPT.count(chr(10)) + 1}: {statement[:7]}")


def test_two_on_one_line_and_windows_line_ends() -> None:
    assert without("<?php Route::get('/tasks', 'A'); Route::get('/b', 'B');\n", "tasks").text == (
        b"<?php  Route::get('/b', 'B');\n"
    )
    text = "<?php\r\nRoute::get('/tasks', 'A');\r\nRoute::get('/b', 'B');\r\n"
    assert without(text, "tasks").text == b"<?php\r\nRoute::get('/b', 'B');\r\n"


@pytest.mark.parametrize("text", ["<?php\nf(\n", "<?php\n'x\n", "<?php\n/* x", "<html>", "<?php\n)"])
def test_php_that_is_not_understood_is_not_touched(text: str) -> None:
    with pytest.raises(UnreadablePhp):
        without(text, "tasks")


def test_an_import_goes_with_its_class_unless_its_name_is_still_spoken_of() -> None:
    names = {"App\\Task\\A", "App\\Task\\B", "App\\Task\\C"}
    text = (
        "<?php\nuse App\\Task\\A;\nuse App\\Task\\B;\nuse App\\Task\\C as D;\nuse App\\Other;\n"
        "Route::get('/b', B::class);\n"
    )
    assert php_routes.without_imports(text.encode(), names) == (
        b"<?php\nuse App\\Task\\B;\nuse App\\Other;\nRoute::get('/b', B::class);\n"
    )


def test_text_of_any_kind_hides_no_route() -> None:
    text = "<?php\n$x = <<<A\n Route::get('/tasks', 'not me');\n A;\nRoute::get('/tasks', 'A');\n?>\n<b>'</b>\n"
    assert without(text, "tasks").text.decode() == text.replace("Route::get('/tasks', 'A');\n", "")


def test_what_a_file_declares_is_named_in_full() -> None:
    text = "// class No\nfinal readonly class A {}\ninterface B {}\nenum C: int {}\ntrait D {}\n"
    of_tasks = ["App\\Task\\A", "App\\Task\\B", "App\\Task\\C", "App\\Task\\D"]
    assert list(declared_classes(f"<?php\nnamespace App\\Task;\n{text}".encode())) == of_tasks
    assert list(declared_classes(f"<?php\nnamespace App\\Task {{\n{text}}}\n".encode())) == of_tasks
    assert list(declared_classes(b"<?php\nclass A {}\n")) == ["A"]
