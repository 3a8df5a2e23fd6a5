-- The statements of Laravel's application. They run as its login, in its time zone. {document} is the JSON of the task t
-- of the user `owner`, with times in UTC. A statement that saves returns no row if nothing would change, because Eloquent
-- then writes nothing.

-- name: document
json_build_object(
    'id', t.id,
    'user_id', owner.cognito_sub,
    'title', t.title,
    'description', t.description,
    'difficulty', coalesce(t.priority, 3),
    'status', CASE WHEN t.approved_at IS NOT NULL THEN 'approved' WHEN t.is_completed THEN 'completed' ELSE 'pending' END,
    'completed_at', to_char(t.completed_at::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'approved_at', to_char(t.approved_at::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'approved_by', (SELECT cognito_sub FROM users approver WHERE approver.id = t.approved_by_user_id),
    'tags', coalesce(
        (SELECT json_agg(named.name ORDER BY named.name)
         FROM (SELECT DISTINCT tag.name COLLATE "C" AS name
               FROM task_tag JOIN tags tag ON tag.id = task_tag.tag_id WHERE task_tag.task_id = t.id) AS named), '[]'),
    'created_at', to_char(t.created_at::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'updated_at', to_char(t.updated_at::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'group', CASE WHEN t.group_task_id IS NOT NULL THEN json_build_object(
        'group_id', t.group_task_id, 'reward', t.reward,
        'requires_approval', t.requires_approval, 'requires_image', t.requires_image) END,
    'images', coalesce(
        (SELECT json_agg(json_build_object('id', image.id, 's3_key', image.file_path) ORDER BY image.id)
         FROM task_images image WHERE image.task_id = t.id), '[]')
)

-- name: health
SELECT EXISTS (SELECT FROM tasks);

-- name: user
SELECT id FROM users WHERE cognito_sub = %(sub)s OR id = %(key)s::bigint ORDER BY id LIMIT 1;

-- name: task
SELECT {document}::text
FROM tasks t JOIN users owner ON owner.id = t.user_id
WHERE t.id = %(task)s AND t.user_id = coalesce(%(user)s::bigint, t.user_id) AND t.deleted_at IS NULL;

-- name: tasks of user
SELECT coalesce(json_agg({document} ORDER BY t.id DESC), '[]')::text
FROM (
    SELECT * FROM tasks WHERE user_id = %(user)s AND deleted_at IS NULL ORDER BY id DESC LIMIT %(newest)s
) AS t JOIN users owner ON owner.id = t.user_id;

-- name: create
WITH written AS (
    INSERT INTO tasks (user_id, title, description, priority, is_completed, created_at, updated_at)
    VALUES (%(user)s, %(title)s, %(description)s, %(priority)s, false, %(now)s, %(now)s)
    RETURNING *
)
SELECT {document}::text FROM written t JOIN users owner ON owner.id = t.user_id;

-- name: update
-- Compares with the row as it is when it is locked, because the sync may have written it since it was read.
WITH changed AS (
    UPDATE tasks t
    SET title = CASE WHEN f.fields ? 'title' THEN f.fields ->> 'title' ELSE t.title END,
        description = CASE WHEN f.fields ? 'description' THEN f.fields ->> 'description' ELSE t.description END,
        priority = CASE WHEN f.fields ? 'difficulty' THEN (f.fields ->> 'difficulty')::smallint ELSE t.priority END,
        updated_at = %(now)s
    FROM (SELECT %(fields)s::jsonb AS fields) AS f
    WHERE t.id = %(task)s AND t.user_id = %(user)s AND t.deleted_at IS NULL
      AND (f.fields ? 'title' AND t.title IS DISTINCT FROM f.fields ->> 'title'
           OR f.fields ? 'description' AND t.description IS DISTINCT FROM f.fields ->> 'description'
           OR f.fields ? 'difficulty' AND t.priority IS DISTINCT FROM (f.fields ->> 'difficulty')::smallint)
    RETURNING t.*
)
SELECT {document}::text FROM changed t JOIN users owner ON owner.id = t.user_id;

-- name: complete
WITH changed AS (
    UPDATE tasks SET is_completed = true, completed_at = %(now)s, updated_at = %(now)s
    WHERE id = %(task)s AND user_id = %(user)s AND deleted_at IS NULL
      AND (is_completed, completed_at) IS DISTINCT FROM (true, %(now)s::timestamp)
    RETURNING *
)
SELECT {document}::text FROM changed t JOIN users owner ON owner.id = t.user_id;

-- name: uncomplete
-- A task that is not completed cannot be approved.
WITH changed AS (
    UPDATE tasks
    SET is_completed = false, completed_at = NULL, approved_at = NULL, approved_by_user_id = NULL, updated_at = %(now)s
    WHERE id = %(task)s AND user_id = %(user)s AND deleted_at IS NULL
      AND NOT (is_completed IS FALSE AND completed_at IS NULL AND approved_at IS NULL AND approved_by_user_id IS NULL)
    RETURNING *
)
SELECT {document}::text FROM changed t JOIN users owner ON owner.id = t.user_id;

-- name: approve
-- Any user may do this.
WITH changed AS (
    UPDATE tasks SET approved_at = %(now)s, approved_by_user_id = %(user)s, updated_at = %(now)s
    WHERE id = %(task)s AND deleted_at IS NULL
      AND (approved_at, approved_by_user_id) IS DISTINCT FROM (%(now)s::timestamp, %(user)s::bigint)
    RETURNING *
)
SELECT {document}::text FROM changed t JOIN users owner ON owner.id = t.user_id;

-- name: delete
UPDATE tasks SET deleted_at = %(now)s, updated_at = %(now)s
WHERE id = %(task)s AND user_id = %(user)s AND deleted_at IS NULL
RETURNING id;

-- name: restore
WITH changed AS (
    UPDATE tasks SET deleted_at = NULL, updated_at = %(now)s
    WHERE id = %(task)s AND user_id = %(user)s AND deleted_at IS NOT NULL
    RETURNING *
)
SELECT {document}::text FROM changed t JOIN users owner ON owner.id = t.user_id;

-- name: group
WITH changed AS (
    UPDATE tasks
    SET group_task_id = %(group_id)s, reward = %(reward)s, requires_approval = %(requires_approval)s,
        requires_image = %(requires_image)s, updated_at = %(now)s
    WHERE id = %(task)s AND user_id = %(user)s AND deleted_at IS NULL
      AND (group_task_id, reward, requires_approval, requires_image)
          IS DISTINCT FROM (%(group_id)s::uuid, %(reward)s::integer, %(requires_approval)s::boolean, %(requires_image)s::boolean)
    RETURNING *
)
SELECT {document}::text FROM changed t JOIN users owner ON owner.id = t.user_id;

-- name: new tags
INSERT INTO tags (name, created_at, updated_at)
SELECT wanted.name, %(now)s, %(now)s
FROM unnest(%(names)s::text[]) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM tags known WHERE known.name = wanted.name);

-- name: detach tags
WITH wanted AS (SELECT min(id) AS id FROM tags WHERE name = ANY (%(names)s::text[]) GROUP BY name),
gone AS (DELETE FROM task_tag WHERE task_id = %(task)s AND tag_id NOT IN (SELECT id FROM wanted) RETURNING 1)
SELECT count(*) FROM gone;

-- name: attach tags
WITH wanted AS (SELECT min(id) AS id FROM tags WHERE name = ANY (%(names)s::text[]) GROUP BY name),
new AS (INSERT INTO task_tag (task_id, tag_id) SELECT %(task)s, id FROM wanted ON CONFLICT DO NOTHING RETURNING 1)
SELECT count(*) FROM new;

-- name: add image
WITH written AS (
    INSERT INTO task_images (task_id, file_path, created_at, updated_at)
    SELECT id, %(s3_key)s, %(now)s, %(now)s FROM tasks
    WHERE id = %(task)s AND user_id = %(user)s AND deleted_at IS NULL
    RETURNING *
)
SELECT json_build_object('id', id, 'task_id', task_id, 's3_key', file_path)::text FROM written;

-- name: remove image
DELETE FROM task_images image USING tasks t
WHERE image.id = %(image)s AND image.task_id = %(task)s AND t.id = image.task_id AND t.user_id = %(user)s
  AND t.deleted_at IS NULL
RETURNING image.id;
