<?php

namespace App\Services\Task;

use App\Models\Task;
use App\Models\User;
use App\Repositories\Task\TaskRepository;
use Illuminate\Support\Facades\DB;

class TaskManagementService
{
    public function __construct(private readonly TaskRepository $tasks)
    {
    }

    public function createTask(User $user, array $data): Task
    {
        return DB::transaction(fn () => $this->tasks->create([
            'user_id' => $user->id,
            'title' => $data['title'],
            'description' => $data['description'],
            'priority' => $data['priority'] ?? 3,
            'is_completed' => false,
        ]));
    }
}
