<?php

namespace App\Http\Actions\Task;

use App\Services\Task\TaskManagementService;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

final class CreateTaskAction
{
    public function __construct(private readonly TaskManagementService $tasks)
    {
    }

    public function __invoke(Request $request): JsonResponse
    {
        return response()->json($this->tasks->createTask($request->user(), $request->validated()), 201);
    }
}
