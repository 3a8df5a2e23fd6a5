-- What the check of the traffic reads from both databases. {document} is an application's JSON of the task t.

-- name: laravel tasks
SELECT t.id, {document}, t.deleted_at IS NOT NULL
FROM tasks t JOIN users owner ON owner.id = t.user_id
WHERE t.id = ANY (%(keys)s::bigint[]);

-- name: task_service tasks
SELECT t.id, {document}, false
FROM tasks t
WHERE t.id = ANY (%(keys)s::bigint[]);

-- name: doubled markers
-- Markers that more than one task has: those tasks were created twice.
SELECT split_part(title, ' ', 1), count(*)
FROM tasks
WHERE split_part(title, ' ', 1) = ANY (%(markers)s::text[])
GROUP BY 1
HAVING count(*) > 1;

-- name: has conflicts
SELECT to_regclass('task_migration.conflict') IS NOT NULL;

-- name: conflicts
SELECT task_key, winner, extract(epoch FROM at)::float8
FROM task_migration.conflict
WHERE task_key = ANY (%(keys)s::bigint[]);
