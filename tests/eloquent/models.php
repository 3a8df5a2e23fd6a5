<?php
// The models of Laravel's task tables, as an application has them.

use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\SoftDeletes;

final class User extends Model
{
    protected $guarded = [];

    public function tasks()
    {
        return $this->hasMany(Task::class);
    }
}

final class Task extends Model
{
    use SoftDeletes;

    protected $guarded = [];

    protected $casts = [
        'is_completed' => 'boolean',
        'requires_approval' => 'boolean',
        'requires_image' => 'boolean',
        'completed_at' => 'datetime',
        'approved_at' => 'datetime',
    ];

    public function user()
    {
        return $this->belongsTo(User::class);
    }

    public function tags()
    {
        return $this->belongsToMany(Tag::class, 'task_tag');
    }

    public function images()
    {
        return $this->hasMany(TaskImage::class);
    }
}

final class TaskImage extends Model
{
    protected $guarded = [];

    protected $touches = ['task'];

    public function task()
    {
        return $this->belongsTo(Task::class);
    }
}

final class Tag extends Model
{
    protected $guarded = [];

    public function tasks()
    {
        return $this->belongsToMany(Task::class, 'task_tag');
    }
}
