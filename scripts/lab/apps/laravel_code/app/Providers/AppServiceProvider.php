<?php

namespace App\Providers;

use App\Services\Task\TaskManagementService;
use Illuminate\Support\ServiceProvider;

class AppServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->app->singleton(TaskManagementService::class);
    }
}
