<?php

namespace App\Http\Actions\Task;

use App\Repositories\Task\TaskRepository;
use Illuminate\Contracts\View\View;
use Illuminate\Http\Request;

final class ListTasksAction
{
    public function __invoke(Request $request, TaskRepository $tasks): View
    {
        return view('tasks.index', ['tasks' => $tasks->ofUser($request->user())]);
    }
}
