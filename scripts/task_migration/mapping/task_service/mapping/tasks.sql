/*
key: id
base: {table: tasks, column: id}
destination_owned:
  category_id: Laravel has no categories
  reflection: Laravel has no reflections
finer:
  status: {pending: [in_progress, rejected]}
owner: user_id
capture:
  tasks: {column: id, root: id}
  task_tag: {column: task_id, root: task_id}
  tags: {column: id, updates_of: [name]}
  cognito_user_mapping: {column: laravel_user_id}
ledger:
  tasks:
    id: [bigint, moved]
    user_id: [bigint, derived, "user_id, through cognito_user_mapping"]
    source_proposal_id: [bigint, kept, "proposals stay with Laravel until the AI Service"]
    assigned_by_user_id: [bigint, derived, "approver of a pending approval"]
    approved_by_user_id: [bigint, derived, "approved_by, through cognito_user_mapping"]
    title: [character varying(255), moved]
    description: [text, moved]
    due_date: [character varying(255), kept, "the Task Service has no due date"]
    span: [integer, kept, "the Task Service has no span"]
    priority: [smallint, derived, "difficulty"]
    group_task_id: [uuid, derived, "group_tasks.group_id"]
    reward: [integer, derived, "group_tasks.reward; kept in Laravel for a task without a group"]
    requires_approval: [boolean, derived, "group_tasks.requires_approval; kept in Laravel for a task without a group"]
    requires_image: [boolean, derived, "group_tasks.requires_image; kept in Laravel for a task without a group"]
    approved_at: [timestamp without time zone, moved]
    is_completed: [boolean, derived, "status"]
    completed_at: [timestamp without time zone, moved]
    created_at: [timestamp without time zone, moved]
    updated_at: [timestamp without time zone, moved]
    deleted_at: [timestamp without time zone, derived, "a soft-deleted task has no row in the Task Service"]
  task_tag:
    task_id: [bigint, derived, "tags"]
    tag_id: [bigint, derived, "tags"]
  tags:
    id: [bigint, derived, "tags"]
    name: [character varying(255), derived, "tags"]
    created_at: [timestamp without time zone, kept, "the Task Service stores only a tag's name"]
    updated_at: [timestamp without time zone, kept, "the Task Service stores only a tag's name"]
*/

-- name: candidates
SELECT t.id AS key
FROM tasks t
WHERE t.deleted_at IS NULL
  AND true /* selected: t.id */;

-- name: rows
-- Tags come from one joined aggregate: a lateral or correlated subquery is twice the work for Laravel's server.
SELECT t.id,
       owner.cognito_sub AS user_id,
       t.title,
       t.description,
       coalesce(t.priority, 3)::integer AS difficulty,
       CASE
           WHEN t.approved_at IS NOT NULL THEN 'approved'
           WHEN t.is_completed THEN 'completed'
           ELSE 'pending'
       END AS status,
       t.completed_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS completed_at,
       t.approved_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS approved_at,
       approver.cognito_sub AS approved_by,
       coalesce(tagged.names, '[]'::jsonb) AS tags,
       t.created_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS created_at,
       t.updated_at AT TIME ZONE current_setting('task_migration.laravel_timezone') AS updated_at
FROM tasks t
JOIN cognito_user_mapping owner ON owner.laravel_user_id = t.user_id
LEFT JOIN cognito_user_mapping approver ON approver.laravel_user_id = t.approved_by_user_id
LEFT JOIN (
    SELECT tag.task_id, jsonb_agg(tag.name ORDER BY tag.name) AS names
    FROM (
        SELECT DISTINCT tt.task_id, tg.name COLLATE "C" AS name
        FROM task_tag tt
        JOIN tags tg ON tg.id = tt.tag_id
        WHERE true /* selected: tt.task_id */
    ) tag
    GROUP BY tag.task_id
) tagged ON tagged.task_id = t.id
WHERE t.deleted_at IS NULL
  AND (t.priority IS NULL OR t.priority BETWEEN 1 AND 5)
  AND true /* selected: t.id */;

-- name: quarantine
-- Joined from users: few of them have no sub, and their tasks are found by an index.
SELECT t.id AS key, 'owner_unmapped' AS kind, true AS held_back,
       'user ' || t.user_id || ' has no Cognito sub; the task is migrated automatically once the user has one' AS reason
FROM users u
JOIN tasks t ON t.user_id = u.id
WHERE t.deleted_at IS NULL
  AND NOT EXISTS (SELECT FROM cognito_user_mapping owner WHERE owner.laravel_user_id = u.id)
  AND true /* selected: t.id */
UNION ALL
SELECT t.id, found.kind, found.held_back, found.reason
FROM tasks t
CROSS JOIN LATERAL (
    SELECT 'priority_out_of_range' AS kind, true AS held_back,
           'priority ' || t.priority || ' is outside 1 to 5' AS reason
    WHERE t.priority NOT BETWEEN 1 AND 5
    UNION ALL
    SELECT 'approver_unmapped', false,
           'approver, user ' || t.approved_by_user_id || ', has no Cognito sub; the task is migrated without an approver'
    WHERE t.approved_by_user_id IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM cognito_user_mapping approver WHERE approver.laravel_user_id = t.approved_by_user_id
      )
) found
WHERE t.deleted_at IS NULL
  AND (t.priority NOT BETWEEN 1 AND 5 OR t.approved_by_user_id IS NOT NULL)
  AND true /* selected: t.id */;

-- name: touched by task_tag
SELECT t.id AS key
FROM tasks t
WHERE true /* selected: t.id */;

-- name: touched by tags
SELECT tt.task_id AS key
FROM task_tag tt
WHERE true /* selected: tt.tag_id */;

-- name: touched by cognito_user_mapping
SELECT t.id AS key
FROM tasks t
WHERE true /* selected: t.user_id */
UNION
SELECT t.id
FROM tasks t
WHERE true /* selected: t.approved_by_user_id */;
