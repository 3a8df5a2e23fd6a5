-- The keys that were written in Laravel and not carried yet.

-- name: exists
SELECT to_regclass('task_migration.change_log') IS NOT NULL;

-- name: length
SELECT count(*) FROM task_migration.change_log;

-- name: newest
SELECT coalesce(max(id), 0) FROM task_migration.change_log;

-- name: take
-- Oldest first. The rows stay locked, and come back if the transaction does not commit.
DELETE FROM task_migration.change_log
WHERE id IN (
    SELECT id FROM task_migration.change_log WHERE id <= %(newest)s ORDER BY id LIMIT %(entries)s FOR UPDATE SKIP LOCKED
)
RETURNING part, key;

-- name: put
INSERT INTO task_migration.change_log (part, key) SELECT %(part)s, unnest(%(keys)s::bigint[]);

-- name: peek
SELECT DISTINCT part, key FROM task_migration.change_log;
