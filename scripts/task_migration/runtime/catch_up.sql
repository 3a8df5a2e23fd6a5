-- name: oldest task
-- of all tasks the one that is least likely to be written now
SELECT min({key}) FROM {table};

-- name: still there
-- What was put there without a claim; a write of the same row that came meanwhile is another entry.
SELECT EXISTS (
    SELECT FROM task_migration.change_log WHERE part = %(part)s AND key = %(key)s AND NOT isfinite(changed_at)
);
