-- The copy's ledger, in the Task Service's database: the planned and the copied key ranges.

-- name: ledger exists
SELECT to_regclass('task_migration.copy_chunk') IS NOT NULL;

-- name: rows by key
SELECT {column} / %(width)s AS bucket, count(*) FROM {table} GROUP BY bucket ORDER BY bucket;

-- name: is planned
SELECT EXISTS (SELECT FROM task_migration.copy_chunk WHERE table_name = %(table)s);

-- name: table exists
SELECT to_regclass('public.' || quote_ident(%(table)s)) IS NOT NULL;

-- name: plan chunk
INSERT INTO task_migration.copy_chunk (table_name, low, high, rows_planned)
VALUES (%(table_name)s, %(low)s, %(high)s, %(rows_planned)s);

-- name: planned tables
SELECT DISTINCT table_name FROM task_migration.copy_chunk;

-- name: claim chunk
-- Parents first. Chunks claimed by another worker are skipped; the claim of a worker that dies is released.
SELECT table_name, low, high, rows_planned
FROM task_migration.copy_chunk
WHERE state = 'planned'
ORDER BY array_position(%(tables)s::text[], table_name), low
LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: is any planned
SELECT EXISTS (SELECT FROM task_migration.copy_chunk WHERE state = 'planned');

-- name: how far
SELECT coalesce(sum(rows_planned) FILTER (WHERE state = 'copied'), 0)::bigint, coalesce(sum(rows_planned), 0)::bigint
FROM task_migration.copy_chunk;

-- name: shorten chunk
UPDATE task_migration.copy_chunk SET high = %(high)s, rows_planned = %(rows_planned)s
WHERE table_name = %(table_name)s AND low = %(low)s;

-- name: mark copied
UPDATE task_migration.copy_chunk
SET state = 'copied', rows_copied = %(rows_copied)s, seconds = %(seconds)s, copied_at = clock_timestamp()
WHERE table_name = %(table_name)s AND low = %(low)s;

-- name: copied keys
SELECT min(low), max(high) FROM task_migration.copy_chunk WHERE table_name = %(table)s HAVING count(*) > 0;

-- name: finished at
-- when the last chunk was copied; NULL while a chunk, an index or a constraint is missing
SELECT CASE WHEN bool_and(state = 'copied') AND NOT EXISTS (SELECT FROM task_migration.deferred_ddl)
            THEN max(copied_at) END
FROM task_migration.copy_chunk;

-- name: holds rows
SELECT EXISTS (SELECT FROM {table});
