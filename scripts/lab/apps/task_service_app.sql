-- The statements of the Task Service's application. {document} is the JSON of the task t, with times in UTC. `now` is in
-- milliseconds, as Sequelize writes times. The schema has the unique keys of group_tasks and task_approvals.

-- name: document
json_build_object(
    'id', t.id,
    'user_id', t.user_id,
    'title', t.title,
    'description', t.description,
    'difficulty', t.difficulty,
    'status', t.status,
    'completed_at', to_char(t.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'approved_at', to_char(t.approved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'approved_by', t.approved_by,
    'tags', coalesce(t.tags, '[]'),
    'created_at', to_char(t.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'updated_at', to_char(t.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'group', (
        SELECT json_build_object(
            'group_id', g.group_id, 'reward', g.reward,
            'requires_approval', g.requires_approval, 'requires_image', g.requires_image)
        FROM group_tasks g WHERE g.task_id = t.id),
    'images', coalesce(
        (SELECT json_agg(json_build_object('id', image.id, 's3_key', image.s3_key) ORDER BY image.id)
         FROM task_images image WHERE image.task_id = t.id), '[]')
)

-- name: health
SELECT EXISTS (SELECT FROM tasks);

-- name: task
SELECT {document}::text FROM tasks t WHERE t.id = %(task)s AND t.user_id = coalesce(%(user)s::text, t.user_id);

-- name: tasks of user
SELECT coalesce(json_agg({document} ORDER BY t.id DESC), '[]')::text
FROM (SELECT * FROM tasks WHERE user_id = %(user)s ORDER BY id DESC LIMIT %(newest)s) AS t;

-- name: create
WITH written AS (
    INSERT INTO tasks (user_id, title, description, difficulty, status, tags, created_at, updated_at)
    VALUES (%(user)s, %(title)s, %(description)s, %(difficulty)s, %(status)s::enum_tasks_status, %(tags)s::jsonb, %(now)s, %(now)s)
    RETURNING *
)
SELECT {document}::text FROM written t;

-- name: create or replace
-- Returns no row if the id belongs to another user.
WITH written AS (
    INSERT INTO tasks (id, user_id, title, description, difficulty, status, tags, created_at, updated_at)
    VALUES (%(id)s, %(user)s, %(title)s, %(description)s, %(difficulty)s, %(status)s::enum_tasks_status, %(tags)s::jsonb,
            %(now)s, %(now)s)
    ON CONFLICT (id) DO UPDATE
    SET title = EXCLUDED.title, description = EXCLUDED.description, difficulty = EXCLUDED.difficulty,
        status = EXCLUDED.status, tags = EXCLUDED.tags, updated_at = EXCLUDED.updated_at
    WHERE tasks.user_id = EXCLUDED.user_id
    RETURNING *
)
SELECT {document}::text FROM written t;

-- name: update
WITH changed AS (
    UPDATE tasks t
    SET title = CASE WHEN f.fields ? 'title' THEN f.fields ->> 'title' ELSE t.title END,
        description = CASE WHEN f.fields ? 'description' THEN f.fields ->> 'description' ELSE t.description END,
        difficulty = CASE WHEN f.fields ? 'difficulty' THEN (f.fields ->> 'difficulty')::integer ELSE t.difficulty END,
        updated_at = %(now)s
    FROM (SELECT %(fields)s::jsonb AS fields) AS f
    WHERE t.id = %(task)s AND t.user_id = %(user)s
    RETURNING t.*
)
SELECT {document}::text FROM changed t;

-- name: tags
WITH changed AS (
    UPDATE tasks SET tags = %(tags)s::jsonb, updated_at = %(now)s
    WHERE id = %(task)s AND user_id = %(user)s
    RETURNING *
)
SELECT {document}::text FROM changed t;

-- name: start
WITH changed AS (
    UPDATE tasks SET status = 'in_progress', completed_at = NULL, approved_at = NULL, approved_by = NULL, updated_at = %(now)s
    WHERE id = %(task)s AND user_id = %(user)s
    RETURNING *
)
SELECT {document}::text FROM changed t;

-- name: complete
WITH changed AS (
    UPDATE tasks
    SET status = CASE WHEN status = 'approved' THEN status ELSE 'completed' END, completed_at = %(now)s, updated_at = %(now)s
    WHERE id = %(task)s AND user_id = %(user)s
    RETURNING *
)
SELECT {document}::text FROM changed t;

-- name: uncomplete
-- A task that is not completed cannot be approved.
WITH changed AS (
    UPDATE tasks SET status = 'pending', completed_at = NULL, approved_at = NULL, approved_by = NULL, updated_at = %(now)s
    WHERE id = %(task)s AND user_id = %(user)s
    RETURNING *
), void AS (
    DELETE FROM task_approvals WHERE task_id IN (SELECT id FROM changed) AND status <> 'rejected'
)
SELECT {document}::text FROM changed t;

-- name: approve
-- Any user may do this.
WITH changed AS (
    UPDATE tasks SET status = 'approved', approved_at = %(now)s, approved_by = %(user)s, updated_at = %(now)s
    WHERE id = %(task)s
    RETURNING *
), approval AS (
    INSERT INTO task_approvals (task_id, approver_id, status, approved_at, created_at, updated_at)
    SELECT id, %(user)s, 'approved', %(now)s, %(now)s, %(now)s FROM changed
    ON CONFLICT (task_id) DO UPDATE
    SET approver_id = EXCLUDED.approver_id, status = EXCLUDED.status, approved_at = EXCLUDED.approved_at,
        updated_at = EXCLUDED.updated_at
)
SELECT {document}::text FROM changed t;

-- name: reject
-- Any user may do this.
WITH changed AS (
    UPDATE tasks SET status = 'rejected', completed_at = NULL, approved_at = NULL, approved_by = NULL, updated_at = %(now)s
    WHERE id = %(task)s
    RETURNING *
), approval AS (
    INSERT INTO task_approvals (task_id, approver_id, status, created_at, updated_at)
    SELECT id, %(user)s, 'rejected', %(now)s, %(now)s FROM changed
    ON CONFLICT (task_id) DO UPDATE
    SET approver_id = EXCLUDED.approver_id, status = EXCLUDED.status, approved_at = NULL, updated_at = EXCLUDED.updated_at
)
SELECT {document}::text FROM changed t;

-- name: touch
-- Locks the task before one of its images or its group is written, so that it cannot be deleted meanwhile.
UPDATE tasks SET updated_at = %(now)s WHERE id = %(task)s AND user_id = %(user)s RETURNING id;

-- name: join group
INSERT INTO group_tasks (group_id, task_id, reward, requires_approval, requires_image, created_at, updated_at)
VALUES (%(group_id)s, %(task)s, %(reward)s, %(requires_approval)s, %(requires_image)s, %(now)s, %(now)s)
ON CONFLICT (task_id) DO UPDATE
SET group_id = EXCLUDED.group_id, reward = EXCLUDED.reward, requires_approval = EXCLUDED.requires_approval,
    requires_image = EXCLUDED.requires_image, updated_at = EXCLUDED.updated_at;

-- name: leave group
DELETE FROM group_tasks WHERE task_id = %(task)s;

-- name: add image
WITH written AS (
    INSERT INTO task_images (task_id, s3_key, s3_url, uploaded_by, created_at, updated_at)
    VALUES (%(task)s, %(s3_key)s, %(s3_url)s, %(user)s, %(now)s, %(now)s)
    RETURNING *
)
SELECT json_build_object('id', id, 'task_id', task_id, 's3_key', s3_key)::text FROM written;

-- name: remove image
DELETE FROM task_images WHERE id = %(image)s AND task_id = %(task)s RETURNING id;

-- name: lock
SELECT user_id FROM tasks WHERE id = %(task)s AND user_id = coalesce(%(user)s::text, user_id) FOR UPDATE;

-- name: delete images
DELETE FROM task_images WHERE task_id = %(task)s;

-- name: delete approvals
DELETE FROM task_approvals WHERE task_id = %(task)s;

-- name: delete task
DELETE FROM tasks WHERE id = %(task)s;

-- name: mark as sync
SELECT set_config('task_migration.origin', 'sync', true);

-- name: apply task
-- Writes the fields that the sync sent; the others remain. Laravel has no `in_progress` and `rejected`: there they are
-- `pending`, which therefore does not overwrite them. Returns no row if the id belongs to another user.
WITH given AS (
    SELECT f.fields, row.*
    FROM (SELECT %(fields)s::jsonb AS fields) AS f,
         jsonb_to_record(f.fields) AS row (
             id bigint, user_id text, title text, description text, difficulty integer, status enum_tasks_status,
             completed_at timestamptz, approved_at timestamptz, approved_by text, tags jsonb, created_at timestamptz,
             updated_at timestamptz)
), written AS (
    INSERT INTO tasks (id, user_id, title, description, difficulty, status, completed_at, approved_at, approved_by, tags,
                       created_at, updated_at)
    SELECT id, user_id, title, description, coalesce(difficulty, 3), coalesce(status, 'pending'), completed_at, approved_at,
           approved_by, coalesce(tags, '[]'), coalesce(created_at, %(now)s), coalesce(updated_at, %(now)s)
    FROM given
    ON CONFLICT (id) DO UPDATE
    SET title = CASE WHEN %(fields)s::jsonb ? 'title' THEN EXCLUDED.title ELSE tasks.title END,
        description = CASE WHEN %(fields)s::jsonb ? 'description' THEN EXCLUDED.description ELSE tasks.description END,
        difficulty = CASE WHEN %(fields)s::jsonb ? 'difficulty' THEN EXCLUDED.difficulty ELSE tasks.difficulty END,
        status = CASE
            WHEN NOT %(fields)s::jsonb ? 'status' THEN tasks.status
            WHEN EXCLUDED.status = 'pending' AND tasks.status IN ('in_progress', 'rejected') THEN tasks.status
            ELSE EXCLUDED.status END,
        completed_at = CASE WHEN %(fields)s::jsonb ? 'completed_at' THEN EXCLUDED.completed_at ELSE tasks.completed_at END,
        approved_at = CASE WHEN %(fields)s::jsonb ? 'approved_at' THEN EXCLUDED.approved_at ELSE tasks.approved_at END,
        approved_by = CASE WHEN %(fields)s::jsonb ? 'approved_by' THEN EXCLUDED.approved_by ELSE tasks.approved_by END,
        tags = CASE WHEN %(fields)s::jsonb ? 'tags' THEN EXCLUDED.tags ELSE tasks.tags END,
        created_at = CASE WHEN %(fields)s::jsonb ? 'created_at' THEN EXCLUDED.created_at ELSE tasks.created_at END,
        updated_at = EXCLUDED.updated_at
    WHERE tasks.user_id = EXCLUDED.user_id
    RETURNING id
)
SELECT id FROM written;

-- name: apply group
INSERT INTO group_tasks (group_id, task_id, reward, requires_approval, requires_image, created_at, updated_at)
SELECT group_id, %(task)s, reward, requires_approval, requires_image, created_at, updated_at
FROM jsonb_to_record(%(fields)s::jsonb) AS given (
    group_id uuid, reward integer, requires_approval boolean, requires_image boolean, created_at timestamptz,
    updated_at timestamptz)
ON CONFLICT (task_id) DO UPDATE
SET group_id = EXCLUDED.group_id, reward = EXCLUDED.reward, requires_approval = EXCLUDED.requires_approval,
    requires_image = EXCLUDED.requires_image, created_at = EXCLUDED.created_at, updated_at = EXCLUDED.updated_at;

-- name: apply approval
INSERT INTO task_approvals (task_id, approver_id, status, approved_at, created_at, updated_at)
SELECT %(task)s, approver_id, status, approved_at, created_at, updated_at
FROM jsonb_to_record(%(fields)s::jsonb) AS given (
    approver_id text, status enum_task_approvals_status, approved_at timestamptz, created_at timestamptz,
    updated_at timestamptz)
ON CONFLICT (task_id) DO UPDATE
SET approver_id = EXCLUDED.approver_id, status = EXCLUDED.status, approved_at = EXCLUDED.approved_at,
    created_at = EXCLUDED.created_at, updated_at = EXCLUDED.updated_at;

-- name: remove approval
-- A rejection remains, because Laravel has none.
DELETE FROM task_approvals WHERE task_id = %(task)s AND status <> 'rejected';

-- name: delete other images
DELETE FROM task_images
WHERE task_id = %(task)s AND id NOT IN (SELECT id FROM jsonb_to_recordset(%(fields)s::jsonb) AS given (id bigint));

-- name: apply images
INSERT INTO task_images (id, task_id, s3_key, s3_url, uploaded_by, created_at, updated_at)
SELECT id, %(task)s, s3_key, s3_url, uploaded_by, created_at, updated_at
FROM jsonb_to_recordset(%(fields)s::jsonb) AS given (
    id bigint, s3_key text, s3_url text, uploaded_by text, created_at timestamptz, updated_at timestamptz)
ON CONFLICT (id) DO UPDATE
SET task_id = EXCLUDED.task_id, s3_key = EXCLUDED.s3_key, s3_url = EXCLUDED.s3_url, uploaded_by = EXCLUDED.uploaded_by,
    created_at = EXCLUDED.created_at, updated_at = EXCLUDED.updated_at;
