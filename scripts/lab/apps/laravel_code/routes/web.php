<?php

use App\Http\Actions\Task\CreateTaskAction;
use App\Http\Actions\Task\ListTasksAction;
use App\Http\Controllers\DashboardController;
use Illuminate\Support\Facades\Route;

Route::get('/', fn () => view('welcome'));

Route::middleware(['auth', 'verified'])->group(function () {
    Route::get('/dashboard', DashboardController::class)->name('dashboard');

    Route::prefix('tasks')->name('tasks.')->group(function () {
        Route::get('/', ListTasksAction::class)->name('index');
        Route::post('/', CreateTaskAction::class)->name('store');
    });
    Route::get('/tasks/{task}/edit', [DashboardController::class, 'edit'])->name('tasks.edit');
});
