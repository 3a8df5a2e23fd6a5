/*
key: task_id
base: {table: tasks, column: id}
parent: {table: tasks, column: task_id}
destination_owned:
  id: the Task Service assigns these ids; a task has at most one row
capture:
  tasks: {column: id, root: id}
  cognito_user_mapping: {column: laravel_user_id}
*/

-- name: candidates
SELECT t.id AS key
FROM tasks t
WHERE t.deleted_at IS NULL
  AND t.group_task_id IS NOT NULL
  AND true /* selected: t.id */;

-- name: rows
SELECT t.group_task_id AS group_id,
       t.id AS task_id,
       t.reward,
       t.requires_approval,
       t.requires_image,
       t.created_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS created_at,
       t.updated_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS updated_at
FROM tasks t
JOIN cognito_user_mapping owner ON owner.laravel_user_id = t.user_id
WHERE t.deleted_at IS NULL
  AND t.group_task_id IS NOT NULL
  AND (t.priority IS NULL OR t.priority BETWEEN 1 AND 5)
  AND true /* selected: t.id */;

-- name: quarantine
SELECT t.id AS key, 'task_held_back' AS kind, true AS held_back, 'its task is held back' AS reason
FROM tasks t
WHERE t.deleted_at IS NULL
  AND t.group_task_id IS NOT NULL
  AND (t.priority NOT BETWEEN 1 AND 5
       OR NOT EXISTS (SELECT FROM cognito_user_mapping owner WHERE owner.laravel_user_id = t.user_id))
  AND true /* selected: t.id */;

-- name: touched by cognito_user_mapping
SELECT t.id AS key
FROM tasks t
WHERE t.group_task_id IS NOT NULL
  AND true /* selected: t.user_id */;
