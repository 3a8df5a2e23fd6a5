/*
key: id
unit: tasks
writes: tasks
*/

-- Converts the Task Service's task, its group and its approval to a row of Laravel's tasks.

-- name: rows
-- in the Task Service's database
SELECT t.id, t.user_id AS owner, t.title, t.description, t.difficulty, t.status::text AS status, t.completed_at,
       t.approved_at, coalesce(t.approved_by, CASE WHEN a.status::text = 'approved' THEN a.approver_id END) AS approved_by,
       CASE WHEN a.status::text = 'pending' AND t.status::text = 'completed' THEN a.approver_id END AS asked_approver,
       coalesce(t.tags, '[]'::jsonb) AS tags, t.created_at, t.updated_at,
       g.task_id IS NOT NULL AS in_group, g.group_id, g.reward, g.requires_approval, g.requires_image
FROM tasks t
LEFT JOIN group_tasks g ON g.task_id = t.id
LEFT JOIN task_approvals a ON a.task_id = t.id
WHERE true /* selected: t.id */;

-- name: staged
-- in Laravel's database, as are all following blocks
SELECT *
FROM json_to_recordset('[]' /* rows */) AS given (
    id bigint, owner text, title text, description text, difficulty bigint, status text, completed_at timestamptz,
    approved_at timestamptz, approved_by text, asked_approver text, tags jsonb, created_at timestamptz,
    updated_at timestamptz, in_group boolean, group_id uuid, reward bigint, requires_approval boolean,
    requires_image boolean
);

-- name: held back
-- The first reason for which a row cannot be synced (no value is ever invented), and whether its tags differ from Laravel's.
SELECT s.id AS key,
       CASE
           WHEN owner.laravel_user_id IS NULL THEN 'owner_unmapped'
           WHEN known.user_id <> owner.laravel_user_id THEN 'owner_changed'
           WHEN s.approved_by IS NOT NULL AND approver.laravel_user_id IS NULL THEN 'approver_unmapped'
           WHEN s.asked_approver IS NOT NULL AND asked.laravel_user_id IS NULL THEN 'approver_unmapped'
           WHEN s.difficulty NOT BETWEEN 1 AND 5 THEN 'difficulty_out_of_range'
           WHEN s.status NOT IN ('pending', 'in_progress', 'rejected', 'completed', 'approved') THEN 'status_unknown'
           WHEN jsonb_typeof(s.tags) <> 'array' OR jsonb_path_exists(s.tags, '$[*] ? (@.type() != "string")')
               THEN 'tags_are_no_names'
       END AS kind,
       (SELECT coalesce(jsonb_agg(DISTINCT tag.name COLLATE "C"), '[]')
        FROM task_tag borne JOIN tags tag ON tag.id = borne.tag_id WHERE borne.task_id = s.id)
       IS DISTINCT FROM
       (SELECT coalesce(jsonb_agg(DISTINCT wanted.name COLLATE "C"), '[]')
        FROM jsonb_array_elements_text(CASE jsonb_typeof(s.tags) WHEN 'array' THEN s.tags ELSE '[]' END) wanted (name))
           AS is_retagged
FROM staged s
LEFT JOIN cognito_user_mapping owner ON owner.cognito_sub = s.owner
LEFT JOIN cognito_user_mapping approver ON approver.cognito_sub = s.approved_by
LEFT JOIN cognito_user_mapping asked ON asked.cognito_sub = s.asked_approver
LEFT JOIN tasks known ON known.id = s.id;

-- name: placed
-- Columns that only Laravel has stay as they are. So do values that already mean the same: a priority of NULL means 3, the
-- reward of a task without a group exists only in Laravel, and a time in the hour that a clock change skipped.
SELECT s.id,
       owner.laravel_user_id AS user_id,
       CASE WHEN s.asked_approver IS NOT NULL THEN asked.laravel_user_id ELSE known.assigned_by_user_id END
           AS assigned_by_user_id,
       approver.laravel_user_id AS approved_by_user_id,
       s.title,
       s.description,
       CASE WHEN s.difficulty = 3 AND known.id IS NOT NULL AND known.priority IS NULL THEN NULL
            ELSE s.difficulty::smallint END AS priority,
       s.group_id AS group_task_id,
       CASE WHEN s.in_group THEN s.reward::integer ELSE known.reward END AS reward,
       CASE WHEN s.in_group THEN s.requires_approval
            WHEN s.asked_approver IS NOT NULL THEN true
            WHEN known.id IS NULL THEN false
            ELSE known.requires_approval END AS requires_approval,
       CASE WHEN s.in_group THEN s.requires_image WHEN known.id IS NULL THEN false ELSE known.requires_image END
           AS requires_image,
       CASE WHEN s.status = 'approved' THEN
           CASE WHEN known.approved_at AT TIME ZONE zone.name = s.approved_at THEN known.approved_at
                ELSE coalesce(s.approved_at, s.updated_at) AT TIME ZONE zone.name END
       END AS approved_at,
       CASE s.status
           WHEN 'completed' THEN true
           WHEN 'approved' THEN CASE WHEN known.approved_at IS NOT NULL THEN known.is_completed ELSE true END
           ELSE CASE WHEN known.id IS NOT NULL AND known.is_completed IS NOT TRUE THEN known.is_completed ELSE false END
       END AS is_completed,
       CASE WHEN known.completed_at AT TIME ZONE zone.name = s.completed_at THEN known.completed_at
            ELSE s.completed_at AT TIME ZONE zone.name END AS completed_at,
       CASE WHEN known.created_at AT TIME ZONE zone.name = s.created_at THEN known.created_at
            ELSE s.created_at AT TIME ZONE zone.name END AS created_at,
       CASE WHEN known.updated_at AT TIME ZONE zone.name = s.updated_at THEN known.updated_at
            ELSE s.updated_at AT TIME ZONE zone.name END AS updated_at,
       NULL::timestamp AS deleted_at
FROM staged s
CROSS JOIN (SELECT current_setting('task_migration.laravel_timezone')) AS zone (name)
JOIN cognito_user_mapping owner ON owner.cognito_sub = s.owner
LEFT JOIN cognito_user_mapping approver ON approver.cognito_sub = s.approved_by
LEFT JOIN cognito_user_mapping asked ON asked.cognito_sub = s.asked_approver
LEFT JOIN tasks known ON known.id = s.id
WHERE s.id <> ALL ('{}'::bigint[] /* held */);

-- name: seen again
-- Run before the upsert: images that Laravel kept of a task that it had deleted and that is restored now.
SELECT 'task_images' AS unit, image.id AS key, image.task_id AS root
FROM staged s
JOIN tasks known ON known.id = s.id AND known.deleted_at IS NOT NULL
JOIN task_images image ON image.task_id = s.id
WHERE s.id <> ALL ('{}'::bigint[] /* held */);

-- name: after, new tags
INSERT INTO tags (name, created_at, updated_at)
SELECT DISTINCT wanted.name, moment.now, moment.now
FROM staged s
CROSS JOIN LATERAL jsonb_array_elements_text(s.tags) AS wanted (name)
CROSS JOIN (SELECT localtimestamp(0) AT TIME ZONE 'UTC' AT TIME ZONE current_setting('task_migration.laravel_timezone')) AS moment (now)
WHERE s.id = ANY ('{}'::bigint[] /* retagged */)
  AND NOT EXISTS (SELECT FROM tags known WHERE known.name = wanted.name)
ON CONFLICT DO NOTHING;

-- name: after, removed tags of a task
DELETE FROM task_tag borne
USING staged s, tags tag
WHERE borne.task_id = s.id AND tag.id = borne.tag_id AND NOT s.tags ? tag.name
  AND s.id = ANY ('{}'::bigint[] /* retagged */);

-- name: after, added tags of a task
-- Names are not unique in Laravel: it uses the oldest tag with the name, unless the task has one with that name already.
INSERT INTO task_tag (task_id, tag_id)
SELECT s.id, (SELECT min(tag.id) FROM tags tag WHERE tag.name = wanted.name)
FROM staged s
CROSS JOIN LATERAL (SELECT DISTINCT jsonb_array_elements_text(s.tags)) AS wanted (name)
WHERE s.id = ANY ('{}'::bigint[] /* retagged */)
  AND NOT EXISTS (
      SELECT FROM task_tag borne JOIN tags tag ON tag.id = borne.tag_id
      WHERE borne.task_id = s.id AND tag.name = wanted.name
  )
ON CONFLICT DO NOTHING;

-- name: gone
-- A task that the Task Service deletes is soft-deleted in Laravel.
UPDATE tasks known
SET deleted_at = localtimestamp(0) AT TIME ZONE 'UTC' AT TIME ZONE current_setting('task_migration.laravel_timezone'),
    updated_at = localtimestamp(0) AT TIME ZONE 'UTC' AT TIME ZONE current_setting('task_migration.laravel_timezone')
WHERE known.id = ANY ('{}'::bigint[] /* gone */) AND known.deleted_at IS NULL
RETURNING known.id;
