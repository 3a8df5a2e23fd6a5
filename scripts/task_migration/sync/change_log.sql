-- The keys that were written on one side and are not yet synced to the other.

-- name: exists
SELECT to_regclass('task_migration.change_log') IS NOT NULL;

-- name: length
SELECT count(*) FROM task_migration.change_log;

-- name: newest
SELECT coalesce(max(id), 0) FROM task_migration.change_log;

-- name: total written
SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('task_migration.change_log', 'id')::regclass), 0);

-- name: limit waiting
-- Neither the sync nor another session waits long for a row.
SELECT set_config('lock_timeout', '500ms', true);

-- name: lock free lanes
-- Lanes that another worker holds are skipped; the locks of a worker that dies are released.
SELECT lane, to_regclass('task_migration.change_log') IS NOT NULL
FROM task_migration.lane
WHERE lane = ANY (%(lanes)s)
FOR UPDATE OF lane SKIP LOCKED;

-- name: lock lanes
-- In ascending order, and Laravel's before the Task Service's, so that no two workers wait for each other.
SELECT lane, to_regclass('task_migration.change_log') IS NOT NULL
FROM task_migration.lane
WHERE lane = ANY (%(lanes)s)
ORDER BY lane
FOR UPDATE OF lane;

-- name: take
-- Oldest first. The rows stay locked, and reappear if the transaction does not commit. An entry without the time of a
-- write ('-infinity': added by the runbook) loses against any write. The ids are an array because that is evaluated once:
-- with a set, the plan that was cached while the log was empty searched for these rows again for each row of the log.
DELETE FROM task_migration.change_log
WHERE id = ANY (ARRAY (
    SELECT id FROM task_migration.change_log
    WHERE (root & 7) = ANY (%(lanes)s) AND id <= %(newest)s
    ORDER BY id
    LIMIT %(entries)s
    FOR UPDATE SKIP LOCKED
))
RETURNING id, part, key, root, CASE WHEN isfinite(changed_at) THEN extract(epoch FROM changed_at)::float8 END;

-- name: wait for all lanes
-- Rows that a batch has written and not committed cannot be found among the touched ones.
SELECT set_config('lock_timeout', '500ms', true), (SELECT count(*) FROM (
    SELECT FROM task_migration.lane ORDER BY lane FOR UPDATE
) lanes);

-- name: lanes with work
-- The lanes of the oldest entries, and whether there is a write of many tasks.
SELECT ARRAY (
           SELECT DISTINCT oldest.root & 7
           FROM (SELECT root FROM task_migration.change_log WHERE root IS NOT NULL ORDER BY id LIMIT %(entries)s) oldest
       ),
       EXISTS (SELECT FROM task_migration.change_log WHERE root IS NULL);

-- name: take those of many tasks
DELETE FROM task_migration.change_log
WHERE id = ANY (ARRAY (
    SELECT id FROM task_migration.change_log
    WHERE root IS NULL AND id <= %(newest)s
    ORDER BY id
    LIMIT %(entries)s
    FOR UPDATE SKIP LOCKED
))
RETURNING part, key, CASE WHEN isfinite(changed_at) THEN extract(epoch FROM changed_at)::float8 END;

-- name: pending of tasks
-- Also the entries of many tasks, which may include these tasks.
SELECT id, part, key, coalesce(root, 0), CASE WHEN isfinite(changed_at) THEN extract(epoch FROM changed_at)::float8 END
FROM task_migration.change_log
WHERE root = ANY (%(task_ids)s::bigint[]) OR root IS NULL;

-- name: remove
DELETE FROM task_migration.change_log WHERE id = ANY (%(ids)s::bigint[]);

-- name: put
-- Without the time of a write: a row that is only checked again loses against any write.
INSERT INTO task_migration.change_log (part, key, root, changed_at)
SELECT %(source_table)s, given.key, given.root, '-infinity'
FROM unnest(%(keys)s::bigint[], %(task_ids)s::bigint[]) AS given (key, root);

-- name: put back
-- With the time of the write that is still to be synced.
INSERT INTO task_migration.change_log (part, key, root, changed_at)
SELECT %(source_table)s, given.key, given.root, coalesce(to_timestamp(given.written_at), '-infinity')
FROM unnest(%(keys)s::bigint[], %(task_ids)s::bigint[], %(times)s::float8[]) AS given (key, root, written_at);

-- name: spread
-- Replaces a write that touches many tasks by an entry for each of them, with the same time.
INSERT INTO task_migration.change_log (part, key, root, changed_at)
SELECT %(source_table)s, touched.key, touched.key, coalesce(to_timestamp(%(written_at)s::float8), '-infinity')
FROM ({touched}) touched;

-- name: task ids of
-- The task that each of these rows belongs to; a row that was deleted is not found.
SELECT {key}, {task_column} FROM {table} WHERE {key} = ANY (%(keys)s::bigint[]);

-- name: peek
SELECT DISTINCT part, key FROM task_migration.change_log;

-- name: is any
-- Entries that can be synced; those of many tasks have to be spread first.
SELECT EXISTS (SELECT FROM task_migration.change_log WHERE id <= %(newest)s AND root IS NOT NULL);

-- name: backlog
-- The number of entries, and the age of the oldest write in seconds.
SELECT (SELECT count(*) FROM task_migration.change_log),
       (SELECT extract(epoch FROM clock_timestamp() - changed_at)::float8
        FROM task_migration.change_log WHERE isfinite(changed_at) ORDER BY id LIMIT 1);

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8;
