/*
key: task_id
base: {table: tasks, column: id}
parent: {table: tasks, column: task_id}
destination_owned:
  id: the Task Service assigns these ids; a task has at most one row
  comment: Laravel has no comments on approvals
destination_only: >-
  stored.status::text = 'rejected'
  AND EXISTS (SELECT FROM tasks t WHERE t.id = stored.task_id AND t.status::text = 'rejected')
capture:
  tasks: {column: id, root: id}
  cognito_user_mapping: {column: laravel_user_id}
*/

-- An approved task has an approval by its approver. A completed task that waits for approval has a pending one, by the user
-- who assigned the task. approver_id must not be NULL: if the user is not known, the approval is quarantined, not invented.

-- name: candidates
SELECT t.id AS key
FROM tasks t
WHERE t.deleted_at IS NULL
  AND (t.approved_at IS NOT NULL OR (t.is_completed AND t.requires_approval))
  AND true /* selected: t.id */;

-- name: rows
SELECT t.id AS task_id,
       approver.cognito_sub AS approver_id,
       CASE WHEN t.approved_at IS NOT NULL THEN 'approved' ELSE 'pending' END AS status,
       t.approved_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS approved_at,
       coalesce(t.approved_at, t.completed_at, t.updated_at)
           AT TIME ZONE current_setting('task_migration.laravel_timezone') AS created_at,
       t.updated_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS updated_at
FROM tasks t
JOIN cognito_user_mapping owner ON owner.laravel_user_id = t.user_id
JOIN cognito_user_mapping approver
    ON approver.laravel_user_id = CASE WHEN t.approved_at IS NOT NULL THEN t.approved_by_user_id ELSE t.assigned_by_user_id END
WHERE t.deleted_at IS NULL
  AND (t.approved_at IS NOT NULL OR (t.is_completed AND t.requires_approval))
  AND (t.priority IS NULL OR t.priority BETWEEN 1 AND 5)
  AND true /* selected: t.id */;

-- name: quarantine
SELECT t.id AS key, found.kind, true AS held_back, found.reason
FROM tasks t
LEFT JOIN cognito_user_mapping owner ON owner.laravel_user_id = t.user_id
LEFT JOIN cognito_user_mapping approver
    ON approver.laravel_user_id = CASE WHEN t.approved_at IS NOT NULL THEN t.approved_by_user_id ELSE t.assigned_by_user_id END
CROSS JOIN LATERAL (
    SELECT 'task_held_back' AS kind, 'its task is held back' AS reason
    WHERE t.priority NOT BETWEEN 1 AND 5 OR owner.laravel_user_id IS NULL
    UNION ALL
    SELECT 'approval_without_approver',
           'the user who ' || CASE WHEN t.approved_at IS NOT NULL THEN 'approved' ELSE 'assigned' END ||
           ' the task is unknown or has no Cognito sub'
    WHERE approver.laravel_user_id IS NULL
) found
WHERE t.deleted_at IS NULL
  AND (t.approved_at IS NOT NULL OR (t.is_completed AND t.requires_approval))
  AND (t.priority NOT BETWEEN 1 AND 5 OR owner.laravel_user_id IS NULL OR approver.laravel_user_id IS NULL)
  AND true /* selected: t.id */;

-- name: touched by cognito_user_mapping
SELECT t.id AS key
FROM tasks t
WHERE true /* selected: t.user_id */
UNION
SELECT t.id
FROM tasks t
WHERE true /* selected: t.approved_by_user_id */
UNION
SELECT t.id
FROM tasks t
WHERE true /* selected: t.assigned_by_user_id */;
