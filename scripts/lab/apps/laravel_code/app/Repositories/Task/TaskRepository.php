<?php

namespace App\Repositories\Task;

use App\Models\Task;
use App\Models\User;
use Illuminate\Support\Collection;

class TaskRepository
{
    public function create(array $columns): Task
    {
        return Task::create($columns);
    }

    public function ofUser(User $user): Collection
    {
        return Task::where('user_id', $user->id)->latest()->limit(50)->get();
    }
}
