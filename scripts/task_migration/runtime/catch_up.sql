-- name: oldest task
-- The task that is least likely to be written now.
SELECT min({key}) FROM {table};

-- name: proof is pending
-- The entry without the time of a write; a write of the same row that came meanwhile is another entry.
SELECT EXISTS (
    SELECT FROM task_migration.change_log WHERE part = %(source_table)s AND key = %(key)s AND NOT isfinite(changed_at)
);
