/*
key: id
unit: task_images
writes: task_images
parent: {table: tasks, column: task_id}
*/

-- name: rows
-- in the Task Service's database
SELECT i.id, i.task_id, i.s3_key, i.created_at, i.updated_at
FROM task_images i
WHERE true /* selected: i.id */;

-- name: staged
-- in Laravel's database, as are all following blocks
SELECT *
FROM json_to_recordset('[]' /* rows */) AS given (
    id bigint, task_id bigint, s3_key text, created_at timestamptz, updated_at timestamptz
);

-- name: held back
-- Only images whose task is held back.
SELECT s.id AS key, 'parent_refused' AS kind, false
FROM staged s
JOIN task_migration.quarantine parent ON parent.table_name = 'tasks' AND parent.key = s.task_id AND parent.held_back;

-- name: placed
SELECT s.id,
       s.task_id,
       s.s3_key AS file_path,
       CASE WHEN known.created_at AT TIME ZONE zone.name = s.created_at THEN known.created_at
            ELSE s.created_at AT TIME ZONE zone.name END AS created_at,
       CASE WHEN known.updated_at AT TIME ZONE zone.name = s.updated_at THEN known.updated_at
            ELSE s.updated_at AT TIME ZONE zone.name END AS updated_at
FROM staged s
CROSS JOIN (SELECT current_setting('task_migration.laravel_timezone')) AS zone (name)
JOIN tasks parent ON parent.id = s.task_id
LEFT JOIN task_images known ON known.id = s.id
WHERE s.id <> ALL ('{}'::bigint[] /* held */);

-- name: waiting
-- Their task does not exist in Laravel yet.
SELECT s.id AS key, s.task_id AS root
FROM staged s
WHERE s.id <> ALL ('{}'::bigint[] /* held */) AND NOT EXISTS (SELECT FROM tasks parent WHERE parent.id = s.task_id);

-- name: gone
-- Only while their task exists in the Task Service: a deleted task keeps its images in Laravel, where it can be restored.
DELETE FROM task_images known
WHERE known.id = ANY ('{}'::bigint[] /* gone */) AND known.task_id = ANY ('{}'::bigint[] /* living */)
RETURNING known.id;
