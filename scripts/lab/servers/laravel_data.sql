-- Laravel's data: the same rows in every run. The setting lab.tasks is the number of tasks: 150, as in the plan, or more.
-- Per 150 tasks: 80 images, 200 task_tag, 100 executions, 50 proposals and 7 users with a Cognito sub.
-- Run as `laravel` in one transaction, between the blocks "tables" and "foreign keys and indexes" of laravel_schema.sql.
--
-- Low ids are fixed. Each of these rows is difficult to migrate in its own way, and a test can refer to it by its id:
--   users  1-7   have a Cognito sub;  8 and 9 have none
--   tags   1-11  see the block "tags"
--   tasks  1-40  see the comments in the block "hostile tasks"
--   images 1-13  see the comments in the block "images"
-- Rows held back with 150 tasks: owner_unmapped 16 (17 is deleted anyway), priority outside 1-5 12 and 13,
-- approver_unmapped 18. Soft-deleted: 14, 15 and 17. In a larger lab every 1009th task belongs to user 8.

-- name: begin
SELECT set_config('lab.tasks', %(tasks)s, true);

-- name: users
INSERT INTO users (id, name, email, cognito_sub, created_at, updated_at)
SELECT n, format('利用者 %s', n), format('user%s@example.com', n),
       CASE WHEN n NOT IN (8, 9) THEN md5(format('cognito sub of user %s', n))::uuid::text END,
       timestamp '2024-05-01 09:00' + n * interval '1 hour', timestamp '2024-05-01 09:00' + n * interval '1 hour'
FROM generate_series(1, 2 + 7 * current_setting('lab.tasks')::bigint / 150) AS n;

-- name: tags
INSERT INTO tags (id, name, created_at, updated_at)
SELECT id, name, timestamp '2024-05-01 09:00', timestamp '2024-05-01 09:00' + id * interval '1 second'
FROM (VALUES
    (1, '仕事'),
    (2, 'emoji 🏷️ 👨‍👩‍👧'),
    (3, 'home'),
    (4, 'home'),                              -- the same name twice
    (5, 'it''s a "quoted" \ tag, {with} [marks]'),
    (6, 'text \u0000 and \N'),
    (7, E'a tab\tand a newline\nin it'),
    (8, repeat('長', 255)),
    (9, 'Home'),                              -- sorts differently from collation to collation
    (10, 'home '),
    (11, 'null')
) AS fixed (id, name)
UNION ALL
SELECT n, format('タグ %s', n), timestamp '2024-05-02 09:00', timestamp '2024-05-02 09:00'
FROM generate_series(12, least(2000, 25 + current_setting('lab.tasks')::bigint / 1000)) AS n;

-- name: proposals
INSERT INTO task_proposals (id, user_id, original_task_text, proposal_context, proposed_tasks_json, model_used,
                            prompt_tokens, completion_tokens, total_tokens, adopted_proposed_tasks_json, was_adopted,
                            created_at, updated_at)
SELECT n, 1 + n % 7, format('大きなタスク %s を分割する', n), CASE WHEN n % 3 = 0 THEN '細かく' END,
       '[{"title": "手順 1", "span": 1}, {"title": "手順 2 🎯", "span": 2}]',
       'gpt-4o-mini', 100 + n % 50, 200 + n % 80, 300 + n % 50 + n % 80,
       CASE WHEN n % 2 = 0 THEN '[{"title": "手順 1", "span": 1}]'::jsonb END, n % 2 = 0,
       timestamp '2024-05-20 10:00' + n * interval '3 minutes', timestamp '2024-05-20 10:00' + n * interval '3 minutes'
FROM generate_series(1, 50 * current_setting('lab.tasks')::bigint / 150) AS n;

-- name: hostile tasks
INSERT INTO tasks (id, user_id, title) VALUES
    (1, 1, 'nothing but a title'),
    (2, 2, '🎉 emoji 👩🏽‍💻 and 𠮷 beyond the BMP'),
    (3, 3, repeat('あ', 255)),                                                        -- as long as Laravel allows
    (4, 4, rpad('101 characters, one more than the Task Service was made for ', 101, 'x')),
    (5, 5, rpad('100 characters: fits ', 100, 'x')),
    (6, 6, 'it''s "quoted", `ticked` and \ back\\slashed; \n is no newline, $1 and {braces} 100%'),
    (7, 7, E'a newline\nanother\r\na tab\t and a bell\007'),
    (8, 1, 'the text \u0000 is no NUL'),
    (9, 2, '\N'),                                                                     -- COPY's way to write NULL
    (10, 3, ''),
    (40, 5, '  spaces around  ');

INSERT INTO tasks (id, user_id, title, priority) VALUES
    (11, 4, 'priority is NULL', NULL),
    (12, 5, 'priority 0 is no priority', 0),                                          -- quarantined
    (13, 6, 'priority 9 is no priority', 9);                                          -- quarantined

INSERT INTO tasks (id, user_id, title, group_task_id, reward, deleted_at) VALUES
    (14, 7, 'soft-deleted, with an image and a tag', NULL, NULL, '2024-06-02 10:00'),
    (15, 1, 'soft-deleted group task', 'aaaaaaaa-0000-4000-8000-000000000015', 50, '2024-06-02 10:00'),
    (16, 8, 'owner has no Cognito sub', 'aaaaaaaa-0000-4000-8000-000000000016', 70, NULL),  -- quarantined
    (17, 9, 'owner has no Cognito sub, and soft-deleted', NULL, NULL, '2024-06-02 10:00');

INSERT INTO tasks (id, user_id, title, requires_approval, is_completed, completed_at, approved_at, approved_by_user_id) VALUES
    (18, 2, 'approver has no Cognito sub', TRUE, TRUE, '2024-06-03 10:00', '2024-06-03 11:00', 8),  -- approver quarantined
    (19, 3, 'approved without an approver', TRUE, TRUE, '2024-06-03 10:00', '2024-06-03 11:00', NULL),
    (20, 4, 'completed, waits for approval', TRUE, TRUE, '2024-06-03 10:00', NULL, NULL),
    (21, 5, 'completed and approved', TRUE, TRUE, '2024-06-03 10:00', '2024-06-03 11:00', 1),
    (22, 6, 'approved but not completed', TRUE, FALSE, NULL, '2024-06-03 11:00', 1),
    (23, 7, 'completed_at without is_completed', FALSE, FALSE, '2024-06-03 10:00', NULL, NULL),
    (24, 1, 'is_completed without completed_at', FALSE, TRUE, NULL, NULL, NULL),
    (25, 2, 'every flag is NULL', NULL, NULL, NULL, NULL, NULL);

INSERT INTO tasks (id, user_id, title, group_task_id, reward, requires_approval, requires_image, assigned_by_user_id) VALUES
    (26, 3, 'group task', 'aaaaaaaa-0000-4000-8000-000000000026', 100, TRUE, TRUE, 1),
    (27, 4, 'the same group, no reward, flags NULL', 'aaaaaaaa-0000-4000-8000-000000000026', NULL, NULL, NULL, 1),
    (28, 5, 'reward and flags without a group', NULL, 300, TRUE, TRUE, NULL);

INSERT INTO tasks (id, user_id, title, is_completed, completed_at, created_at, updated_at) VALUES
    (29, 6, 'microseconds', TRUE, '2025-01-02 03:04:05.678901', '2025-01-02 03:04:05.000001', '2025-01-02 03:04:05.999999'),
    (30, 7, 'an hour that Berlin skips', TRUE, '2025-03-30 02:30', '2025-03-30 02:30', '2025-03-30 03:30'),
    (31, 1, 'an hour that Berlin has twice', TRUE, '2025-10-26 02:30', '2025-10-26 02:30', '2025-10-26 02:30'),
    (32, 2, 'an hour that New York skips', TRUE, '2025-03-09 02:30', '2025-03-09 02:30', '2025-03-09 02:30'),
    (33, 3, 'the ends of time', TRUE, '9999-12-31 23:59:59.999999', '1970-01-01 00:00', '9999-12-31 23:59:59.999999');

INSERT INTO tasks (id, user_id, title) VALUES
    (34, 4, 'has two tags of the same name'),
    (35, 5, 'has every difficult tag'),
    (36, 6, 'has no tag'),
    (37, 7, 'has images with hostile paths');

INSERT INTO tasks (id, user_id, title, description, due_date, span, source_proposal_id, assigned_by_user_id) VALUES
    (38, 1, 'fills what stays in Laravel', 'due_date is free text', '来週の月曜', 3, 1, 9),
    (39, 2, 'a long description', repeat(E'一行\t\\ "段落"\n', 10000), NULL, NULL, NULL, NULL);

UPDATE tasks SET description = '' WHERE id = 40;
UPDATE tasks
SET created_at = timestamp '2024-06-01 09:00' + id * interval '1.000123 seconds',
    updated_at = timestamp '2024-06-01 09:00' + id * interval '2.000456 seconds'
WHERE id <= 40 AND id NOT BETWEEN 29 AND 33;

-- name: tasks
INSERT INTO tasks (id, user_id, source_proposal_id, assigned_by_user_id, approved_by_user_id, title, description, due_date,
                   span, priority, group_task_id, reward, requires_approval, requires_image, approved_at, is_completed,
                   completed_at, created_at, updated_at, deleted_at)
SELECT n,
       CASE WHEN n % 1009 = 0 THEN 8 WHEN owner < 7 THEN owner + 1 ELSE owner + 3 END,
       CASE WHEN n % 4 = 0 THEN 1 + n % proposals END,
       CASE WHEN n % 9 = 0 THEN 1 + n % 7 END,
       CASE WHEN n % 15 = 0 THEN 1 + n % 7 END,
       CASE WHEN n % 50 = 0 THEN rpad(format('長い題名のタスク %s ', n), 101 + (n % 155)::integer, '続く')
            ELSE format('タスク %s: %s', n, substr('買い物と掃除と洗濯と宿題と散歩と読書と料理と運動', 1 + (n % 12)::integer, 12)) END,
       CASE WHEN n % 7 <> 0 THEN format('タスク %s の説明。', n) || repeat('Some words about what is to be done. ', (n % 5)::integer) END,
       CASE WHEN n % 6 = 0 THEN to_char(date '2025-01-01' + (n % 365)::integer, 'YYYY-MM-DD') END,
       1 + n % 3,
       CASE WHEN n % 37 <> 0 THEN 1 + n % 5 END,
       CASE WHEN n % 10 = 7 THEN md5(format('group %s', n / 30))::uuid END,
       CASE WHEN n % 10 = 7 THEN 100 * (1 + n % 9) END,
       n % 5 = 0,
       n % 8 = 0,
       CASE WHEN n % 15 = 0 THEN made + interval '2 days 1.5 seconds' END,
       n % 3 = 0,
       CASE WHEN n % 3 = 0 THEN made + interval '1 day 0.25 seconds' END,
       made,
       made + (n % 100) * interval '1 hour 0.000001 seconds',
       CASE WHEN n % 20 = 1 THEN made + interval '5 days' END
FROM (
    SELECT n, n * 7919 % (7 * total / 150) AS owner, 50 * total / 150 AS proposals,
           timestamp '2024-06-01 12:00' + n * interval '37.000123 seconds' AS made
    FROM (SELECT current_setting('lab.tasks')::bigint) AS asked (total), generate_series(41, total) AS n
) AS numbered;

-- name: images
INSERT INTO task_images (id, task_id, file_path, approved_at, delete_at, created_at, updated_at)
SELECT id, task_id, file_path, approved_at, approved_at + interval '3 days', created_at, created_at
FROM (VALUES
    (1, 37, 'task_images/with spaces in it.png', NULL::timestamp),
    (2, 37, 'タスク画像/写真 一.jpg', NULL),
    (3, 37, 'task_images/100%/a%20b.png', NULL),
    (4, 37, 'task_images/a+b#c?d=e&f;g=h,i:j@k!.png', NULL),
    (5, 37, 'task_images/it''s "quoted" \ and ~.png', NULL),
    (6, 37, 'task_images/🎉.png', NULL),
    (7, 37, rpad('task_images/as-long-as-Laravel-allows-', 251, 'x') || '.png', NULL),
    (8, 37, '/leading/slash//double.png', NULL),
    (9, 14, 'task_images/of-a-soft-deleted-task.png', NULL),
    (10, 15, 'task_images/of-a-soft-deleted-group-task.png', NULL),
    (11, 16, 'task_images/of-an-unmapped-owner.png', NULL),
    (12, 12, 'task_images/of-a-task-with-priority-0.png', NULL),
    (13, 21, 'task_images/approved-and-due-for-deletion.png', timestamp '2024-06-03 11:00')
) AS fixed (id, task_id, file_path, approved_at), (VALUES (timestamp '2024-06-01 13:00:00.123456')) AS moment (created_at)
UNION ALL
SELECT 14 + i, task_id, format('task_images/%s/%s.jpg', task_id, md5(i::text)),
       CASE WHEN i % 4 = 0 THEN made END, CASE WHEN i % 4 = 0 THEN made + interval '3 days' END, made, made
FROM (
    SELECT i, 41 + i * 2 % (total - 40) AS task_id, timestamp '2024-06-02 12:00' + i * interval '41.000321 seconds' AS made
    FROM (SELECT current_setting('lab.tasks')::bigint) AS asked (total), generate_series(0, 80 * total / 150 - 14) AS i
) AS numbered;

-- name: tags of tasks
INSERT INTO task_tag (task_id, tag_id) VALUES
    (34, 4), (34, 3), (14, 1), (15, 2), (16, 1), (16, 5), (2, 2), (8, 6),
    (35, 11), (35, 10), (35, 9), (35, 8), (35, 7), (35, 6), (35, 5), (35, 4), (35, 3), (35, 2), (35, 1);
-- Every fourth of the other tasks has no tag, the rest have up to three.
INSERT INTO task_tag (task_id, tag_id)
SELECT task_id, 12 + (task_id * 31 + 3 * (i / pool)) % ordinary_tags
FROM (
    SELECT i, pool, 41 + i % pool + i % pool / 3 AS task_id, (SELECT count(*) - 11 FROM tags) AS ordinary_tags
    FROM (SELECT total, (total - 40) * 3 / 4 AS pool FROM (SELECT current_setting('lab.tasks')::bigint AS total)) AS asked,
         generate_series(0, 200 * total / 150 - 20) AS i
) AS numbered;

-- name: executions
INSERT INTO task_executions (id, task_id, proposal_id, estimated_effort_minutes, actual_effort_minutes, completion_status,
                             is_high_quality, created_at, updated_at)
SELECT i, 1 + i * 3 % total, 1 + i % (50 * total / 150), 30 + i % 60, CASE WHEN i % 2 = 0 THEN 20 + i % 90 END,
       (ARRAY['pending', 'completed', 'abandoned', 'partial'])[1 + i % 4], CASE WHEN i % 3 = 0 THEN i % 2 = 0 END,
       timestamp '2024-06-03 12:00' + i * interval '1 minute', timestamp '2024-06-03 12:00' + i * interval '1 minute'
FROM (SELECT current_setting('lab.tasks')::bigint) AS asked (total), generate_series(1, 100 * total / 150) AS i;

-- name: sequences
SELECT setval(pg_get_serial_sequence('users', 'id'), (SELECT max(id) FROM users)),
       setval(pg_get_serial_sequence('tags', 'id'), (SELECT max(id) FROM tags)),
       setval(pg_get_serial_sequence('task_proposals', 'id'), (SELECT max(id) FROM task_proposals)),
       setval(pg_get_serial_sequence('tasks', 'id'), (SELECT max(id) FROM tasks)),
       setval(pg_get_serial_sequence('task_images', 'id'), (SELECT max(id) FROM task_images)),
       setval(pg_get_serial_sequence('task_executions', 'id'), (SELECT max(id) FROM task_executions));

-- name: analyze
VACUUM (ANALYZE) users, tags, task_proposals, tasks, task_images, task_tag, task_executions;

-- name: has laravel tables
SELECT to_regclass('public.users') IS NOT NULL AND to_regclass('public.tasks') IS NOT NULL;

-- name: tasks and users
SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM users WHERE cognito_sub IS NOT NULL);

-- name: cognito subs
SELECT cognito_sub FROM users WHERE cognito_sub IS NOT NULL ORDER BY id LIMIT %(most)s;

-- name: complete
SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %(database)s;

-- name: mark complete
COMMENT ON DATABASE {database} IS {mark};
