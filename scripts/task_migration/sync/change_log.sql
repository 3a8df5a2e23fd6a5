-- The keys that were written on one side and not carried to the other yet.

-- name: exists
SELECT to_regclass('task_migration.change_log') IS NOT NULL;

-- name: length
SELECT count(*) FROM task_migration.change_log;

-- name: newest
SELECT coalesce(max(id), 0) FROM task_migration.change_log;

-- name: written
SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('task_migration.change_log', 'id')::regclass), 0);

-- name: limit waiting
-- Nobody waits long for a row of ours, nor we for anybody's.
SELECT set_config('lock_timeout', '500ms', true);

-- name: lock free lanes
-- What another worker carries is passed over; a worker that dies lets go.
SELECT lane, to_regclass('task_migration.change_log') IS NOT NULL
FROM task_migration.lane
WHERE lane = ANY (%(lanes)s)
FOR UPDATE OF lane SKIP LOCKED;

-- name: lock lanes
-- In their order, Laravel's before the Task Service's: so no two workers wait for each other.
SELECT lane, to_regclass('task_migration.change_log') IS NOT NULL
FROM task_migration.lane
WHERE lane = ANY (%(lanes)s)
ORDER BY lane
FOR UPDATE OF lane;

-- name: take
-- Oldest first. The rows stay locked, and come back if the transaction does not commit. An entry with no claim
-- ('-infinity': put there by us, no write of anybody's) gives way to any write. An array, since that is made once: as a
-- set the plan that was made while the log was empty looked for these rows anew for each row of the log.
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
-- What a batch has written and not committed can't be seen to be touched.
SELECT set_config('lock_timeout', '500ms', true), (SELECT count(*) FROM (
    SELECT FROM task_migration.lane ORDER BY lane FOR UPDATE
) lanes);

-- name: work
-- the lanes of the oldest entries, and whether there is a write of many tasks
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
-- And those of many tasks: any of these may be among them.
SELECT id, part, key, coalesce(root, 0), CASE WHEN isfinite(changed_at) THEN extract(epoch FROM changed_at)::float8 END
FROM task_migration.change_log
WHERE root = ANY (%(roots)s::bigint[]) OR root IS NULL;

-- name: give way
DELETE FROM task_migration.change_log WHERE id = ANY (%(ids)s::bigint[]);

-- name: put
-- Without a claim: what is looked at again gives way to any write.
INSERT INTO task_migration.change_log (part, key, root, changed_at)
SELECT %(part)s, given.key, given.root, '-infinity'
FROM unnest(%(keys)s::bigint[], %(roots)s::bigint[]) AS given (key, root);

-- name: put back
-- With the time of the write that is still to be carried.
INSERT INTO task_migration.change_log (part, key, root, changed_at)
SELECT %(part)s, given.key, given.root, coalesce(to_timestamp(given.claim), '-infinity')
FROM unnest(%(keys)s::bigint[], %(roots)s::bigint[], %(claims)s::float8[]) AS given (key, root, claim);

-- name: spread
-- A write that touches many tasks becomes an entry for each of them, of the same time.
INSERT INTO task_migration.change_log (part, key, root, changed_at)
SELECT %(part)s, touched.key, touched.key, coalesce(to_timestamp(%(claim)s::float8), '-infinity')
FROM ({touched}) touched;

-- name: roots of
-- which task these rows belong to; a row that is gone has none any more
SELECT {key}, {root} FROM {table} WHERE {key} = ANY (%(keys)s::bigint[]);

-- name: peek
SELECT DISTINCT part, key FROM task_migration.change_log;

-- name: is any
-- to be carried; what touches many tasks has to be spread first
SELECT EXISTS (SELECT FROM task_migration.change_log WHERE id <= %(newest)s AND root IS NOT NULL);

-- name: stand
-- how many entries, and how old the oldest write is, in seconds
SELECT (SELECT count(*) FROM task_migration.change_log),
       (SELECT extract(epoch FROM clock_timestamp() - changed_at)::float8
        FROM task_migration.change_log WHERE isfinite(changed_at) ORDER BY id LIMIT 1);

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8;
