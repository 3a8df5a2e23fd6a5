<?php
// What an application writes by Eloquent, one scenario each. They run in the order of tests/integration/test_eloquent.py,
// on one database: an id that Eloquent is given by a sequence depends on the scenarios before, so a new one goes right
// before the last, which empties the tables.

use Illuminate\Database\Capsule\Manager as DB;
use Illuminate\Support\Carbon;

return [
    'create' => function () {
        $task = Task::create(['user_id' => 1, 'title' => '新しいタスク', 'priority' => 2, 'requires_image' => true]);
        $task->images()->createMany([['file_path' => 'task_images/新/一.jpg'], ['file_path' => 'task_images/new/2.jpg']]);
        $task->tags()->attach([1, 3, 4]);
    },

    'save' => function () {
        $task = Task::find(44);
        $task->title = 'saved once';
        $task->description = "二行\n'quoted' \\ and back";
        $task->save();
    },

    'save_within_the_same_second' => function () {
        $task = Task::find(44);
        $task->title = 'saved twice';
        $task->save();
    },

    'complete_and_approve' => function () {
        $task = Task::find(26);
        $task->update(['is_completed' => true, 'completed_at' => Carbon::now()]);
        Carbon::setTestNow(Carbon::now()->addMinute());
        $task->update(['approved_at' => Carbon::now(), 'approved_by_user_id' => 1]);
        Task::find(20)->forceFill(['is_completed' => false, 'completed_at' => null])->save();
    },

    'soft_delete' => function () {
        Task::find(47)->delete();
        Task::destroy([50, 53]);
    },

    'restore' => function () {
        Task::onlyTrashed()->find(14)->restore();
        Task::withTrashed()->find(15)->restore();
    },

    'force_delete' => function () {
        Task::find(35)->forceDelete();
        Task::find(57)->forceDelete();
        Task::onlyTrashed()->find(81)->forceDelete();
    },

    'touch' => function () {
        Task::find(36)->touch();
        TaskImage::find(13)->touch(); // and by it its task, 21
    },

    'attach_and_detach' => function () {
        Task::find(36)->tags()->attach([1, 5]);
        Task::find(2)->tags()->detach(2);
        Task::find(8)->tags()->detach();
    },

    'sync' => function () {
        Task::find(34)->tags()->sync([1, 2, 4]);
        Task::find(36)->tags()->syncWithoutDetaching([5, 9]);
        Task::find(2)->tags()->toggle([2, 7]);
        Tag::find(10)->tasks()->sync([3, 4]);
    },

    'rename_a_tag' => function () {
        Tag::find(12)->update(['name' => '改名 🏷️']);
        Tag::find(14)->touch();
    },

    'delete_a_tag' => function () {
        Tag::find(13)->delete();
    },

    'bulk_update' => function () {
        Task::where('user_id', 3)->where('is_completed', false)->update(['priority' => 5]);
        DB::table('tasks')->where('user_id', 4)->update(['title' => DB::raw("upper(title) || ' !'")]);
    },

    'bulk_delete_and_restore' => function () {
        Task::whereIn('id', [59, 62])->delete();
        Task::onlyTrashed()->whereIn('id', [101, 121])->restore();
        DB::table('tasks')->whereIn('id', [65, 68])->delete();
        Task::whereIn('id', [71, 74])->forceDelete();
        DB::table('tasks')->join('users', 'users.id', '=', 'tasks.user_id')->where('tasks.id', 77)->delete();
    },

    'increment' => function () {
        Task::where('id', 83)->increment('priority');
        Task::where('id', 84)->increment('priority', 1, ['title' => 'priority 6 is no priority']);
        Task::find(87)->increment('reward', 50);
        DB::table('tasks')->where('id', 88)->decrement('priority');
        Task::where('id', 12)->increment('priority', 3); // was 0: held back until now
    },

    'upsert' => function () {
        Task::upsert(
            [['id' => 86, 'user_id' => 4, 'title' => 'upserted'], ['id' => 5001, 'user_id' => 4, 'title' => 'upserted, new']],
            ['id'],
            ['title']
        );
        DB::table('tasks')->insertOrIgnore([
            ['id' => 86, 'user_id' => 1, 'title' => 'ignored'], ['id' => 5002, 'user_id' => 1, 'title' => 'not ignored'],
        ]);
        DB::table('tasks')->insertGetId(['user_id' => 2, 'title' => 'insertGetId']);
        DB::table('tasks')->updateOrInsert(['id' => 89], ['title' => 'updateOrInsert']);
        DB::table('tasks')->updateOrInsert(['id' => 5003], ['user_id' => 3, 'title' => 'updateOrInsert, new']);
        DB::table('tasks')->insertUsing(
            ['user_id', 'title'],
            DB::table('tasks')->select('user_id', DB::raw("'copy of ' || title"))->where('id', 5001)
        );
    },

    'update_or_create' => function () {
        Task::updateOrCreate(['id' => 90], ['title' => 'updateOrCreate']);
        Task::updateOrCreate(['user_id' => 5, 'title' => 'updateOrCreate, new'], ['priority' => 1]);
        Task::firstOrCreate(['user_id' => 5, 'title' => 'firstOrCreate']);
        $copy = Task::find(90)->replicate();
        $copy->title = 'replicated';
        $copy->push();
    },

    'joined_update' => function () {
        DB::table('tasks')->join('users', 'users.id', '=', 'tasks.user_id')->where('tasks.id', 92)
            ->updateFrom(['title' => DB::raw('users.name')]);
        DB::table('tasks')->join('users', 'users.id', '=', 'tasks.user_id')->where('tasks.id', 93)
            ->update(['title' => 'joined']);
        DB::table('tasks')->where('user_id', 5)->orderBy('id')->limit(2)->update(['priority' => 1]);
    },

    'without_events' => function () {
        Task::withoutEvents(fn () => Task::find(95)->update(['title' => 'without events']));
        Task::find(96)->fill(['title' => 'saved quietly'])->saveQuietly();
        $task = Task::find(98);
        $task->timestamps = false;
        $task->title = 'without timestamps';
        $task->save();
        Task::withoutEvents(fn () => Task::find(99)->delete());
    },

    'inner_transaction_rolled_back' => function () {
        DB::connection()->transaction(function () {
            Task::lockForUpdate()->find(102)->update(['title' => 'outer']);
            try {
                DB::connection()->transaction(function () {
                    Task::find(104)->update(['title' => 'inner']);
                    throw new DomainException();
                });
            } catch (DomainException) {
            }
            Task::find(105)->update(['title' => 'outer again']);
        });
    },

    'outer_transaction_rolled_back' => function () {
        DB::connection()->beginTransaction();
        $task = Task::create(['user_id' => 1, 'title' => 'never']);
        $task->tags()->attach(1);
        $task->images()->create(['file_path' => 'task_images/never.png']);
        DB::connection()->transaction(fn () => Task::find(107)->delete());
        Task::where('user_id', 5)->update(['title' => 'never']);
        Tag::find(1)->update(['name' => 'never']);
        User::find(8)->update(['cognito_sub' => 'never']);
        DB::connection()->rollBack();
    },

    'images' => function () {
        Task::find(108)->images()->create(['file_path' => 'task_images/108 a.png']);
        TaskImage::find(1)->update(['file_path' => 'task_images/renamed.png']);
        TaskImage::find(2)->delete();
        TaskImage::find(3)->task()->associate(Task::find(110))->save();
        TaskImage::where('id', 4)->update(['approved_at' => Carbon::now(), 'delete_at' => Carbon::now()->addDays(3)]);
        TaskImage::whereIn('id', [5, 6])->delete();
    },

    'group' => function () {
        Task::find(117)->update(['group_task_id' => null]);
        Task::find(111)->update(['group_task_id' => 'bbbbbbbb-0000-4000-8000-000000000111', 'reward' => 10]);
        Task::where('group_task_id', 'aaaaaaaa-0000-4000-8000-000000000026')->update(['reward' => 250]);
    },

    'chunks' => function () {
        Task::where('user_id', 6)->chunkById(5, fn ($tasks) => $tasks->each->update(['title' => 'in chunks']));
        Task::where('user_id', 2)->lazyById(5)->each->update(['description' => 'lazily']);
    },

    'raw' => function () {
        DB::update('update tasks set title = ? where id = ?', ['by update', 114]);
        DB::statement("update tasks set title = 'by statement' where id = 116");
        DB::connection()->unprepared("update tasks set title = 'unprepared' where id = 119");
    },

    'cognito_sub' => function () {
        User::find(8)->update(['cognito_sub' => 'sub-of-8']);
        User::where('id', 6)->update(['cognito_sub' => null]);
        User::create(['name' => '新人', 'email' => 'new@example.com', 'cognito_sub' => 'sub-of-new'])
            ->tasks()->create(['title' => 'hers']);
    },

    'delete_a_user' => function () {
        $user = User::find(7);
        DB::connection()->transaction(function () use ($user) {
            DB::table('task_executions')->whereIn('task_id', $user->tasks()->withTrashed()->orderBy('id')->pluck('id'))->delete();
            $user->delete();
        });
    },

    'truncate_and_begin_again' => function () {
        Task::truncate();
        Task::create(['user_id' => 1, 'title' => 'the first task again'])->tags()->attach(5);
    },
];
