/*
key: id
base: {table: task_images, column: id}
parent: {table: tasks, column: task_id}
chunk_width: 3
capture:
  task_images: {column: id, root: task_id}
  tasks: {column: id, root: id}
  cognito_user_mapping: {column: laravel_user_id}
ledger:
  task_images:
    id: [bigint, moved]
    task_id: [bigint, moved]
    file_path: [character varying(255), derived, "s3_key and s3_url"]
    approved_at: [timestamp without time zone, kept, "the Task Service approves tasks, not images"]
    delete_at: [timestamp without time zone, kept, "Laravel's own clean-up date"]
    created_at: [timestamp without time zone, moved]
    updated_at: [timestamp without time zone, moved]
*/

-- name: candidates
SELECT i.id AS key
FROM task_images i
JOIN tasks t ON t.id = i.task_id
WHERE t.deleted_at IS NULL
  AND true /* selected: i.id */;

-- name: rows
-- s3_url is the object's URL, percent-encoded. It is not signed, because a signature expires; readers sign s3_key.
SELECT i.id,
       i.task_id,
       i.file_path AS s3_key,
       'https://' || current_setting('task_migration.s3_bucket') || '.s3.amazonaws.com/' ||
       CASE
           WHEN i.file_path ~ '^[A-Za-z0-9/._~-]*$' THEN i.file_path
           ELSE (
               SELECT string_agg(
                          CASE
                              WHEN letter ~ '^[A-Za-z0-9/._~-]$' THEN letter
                              ELSE regexp_replace(upper(encode(convert_to(letter, 'UTF8'), 'hex')), '(..)', '%\1', 'g')
                          END, '' ORDER BY position)
               FROM unnest(string_to_array(i.file_path, NULL)) WITH ORDINALITY AS path(letter, position)
           )
       END AS s3_url,
       owner.cognito_sub AS uploaded_by,
       i.created_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS created_at,
       i.updated_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS updated_at
FROM task_images i
JOIN tasks t ON t.id = i.task_id
JOIN cognito_user_mapping owner ON owner.laravel_user_id = t.user_id
WHERE t.deleted_at IS NULL
  AND (t.priority IS NULL OR t.priority BETWEEN 1 AND 5)
  AND true /* selected: i.id */;

-- name: quarantine
SELECT i.id AS key, 'task_held_back' AS kind, true AS held_back, 'its task ' || i.task_id || ' is held back' AS reason
FROM task_images i
JOIN tasks t ON t.id = i.task_id
LEFT JOIN cognito_user_mapping owner ON owner.laravel_user_id = t.user_id
WHERE t.deleted_at IS NULL
  AND (t.priority NOT BETWEEN 1 AND 5 OR owner.laravel_user_id IS NULL)
  AND true /* selected: i.id */;

-- name: touched by tasks
SELECT i.id AS key
FROM task_images i
WHERE true /* selected: i.task_id */;

-- name: touched by cognito_user_mapping
SELECT i.id AS key
FROM task_images i
JOIN tasks t ON t.id = i.task_id
WHERE true /* selected: t.user_id */;
