-- The benchmark's statements.

-- name: settings
SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (%(names)s) ORDER BY name;

-- name: version
SHOW server_version;

-- name: copy database
CREATE DATABASE {database} OWNER {owner} TEMPLATE {template} STRATEGY FILE_COPY;

-- name: drop database
DROP DATABASE IF EXISTS {database} WITH (FORCE);

-- name: checkpoint
CHECKPOINT;

-- name: vacuum analyze
VACUUM (ANALYZE);

-- name: keep what the mapping reads
-- Leaves only the tables that the mapping reads, and removes everything of the migration.
DROP TABLE task_executions;
DROP TABLE task_proposals CASCADE;
DROP TABLE IF EXISTS cognito_user_mapping CASCADE;
DROP SCHEMA IF EXISTS task_migration CASCADE;

-- name: rows of table
SELECT count(*) FROM {table};

-- name: indexes and constraints
-- Every index and foreign key of these tables; those that are NOT VALID or INVALID are marked.
SELECT pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END AS definition
FROM pg_index
WHERE indrelid::regclass::text = ANY (%(tables)s)
UNION ALL
SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint
WHERE contype = 'f' AND conrelid::regclass::text = ANY (%(tables)s)
ORDER BY definition;

-- name: secondary indexes
SELECT pg_get_indexdef(x.indexrelid), format('DROP INDEX %%I', i.relname)
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid::regclass::text = ANY (%(tables)s) AND NOT x.indisunique
ORDER BY x.indrelid::regclass::text, i.relname;

-- name: foreign keys
SELECT format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s NOT VALID', conrelid::regclass, conname, pg_get_constraintdef(oid)),
       format('ALTER TABLE %%s VALIDATE CONSTRAINT %%I', conrelid::regclass, conname),
       format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname)
FROM pg_constraint
WHERE contype = 'f' AND conrelid::regclass::text = ANY (%(tables)s)
ORDER BY conrelid::regclass::text, conname;

-- name: highest key
SELECT coalesce(max({column}), 0) FROM {table};

-- name: copy out
COPY ({rows}) TO STDOUT (FORMAT {format});

-- name: copy in
COPY {table} ({columns}) FROM STDIN (FORMAT {format});

-- name: single pass
SELECT count(*), sum(hash_record_extended(hashed, hashed.{key})) FROM ({rows}) hashed;

-- name: quarantine kinds
SELECT DISTINCT kind FROM task_migration.quarantine;

-- Ten differences. The words after "planted:" are the table, the kind and the column that a comparison must name.

-- name: planted: tasks different title
UPDATE tasks SET title = overlay(title PLACING '~' FROM 1 FOR 1)
WHERE id = (SELECT min(id) FROM tasks WHERE id > %(after)s) RETURNING id;

-- name: planted: tasks different description
UPDATE tasks SET description = coalesce(description, '') || ' '
WHERE id = (SELECT min(id) FROM tasks WHERE id > %(after)s) RETURNING id;

-- name: planted: tasks different tags
UPDATE tasks SET tags = tags || '["planted"]'
WHERE id = (SELECT min(id) FROM tasks WHERE id > %(after)s) RETURNING id;

-- name: planted: tasks different updated_at
UPDATE tasks SET updated_at = updated_at + interval '1 microsecond'
WHERE id = (SELECT min(id) FROM tasks WHERE id > %(after)s) RETURNING id;

-- name: planted: tasks different user_id
UPDATE tasks SET user_id = upper(user_id) || '-'
WHERE id = (SELECT min(id) FROM tasks WHERE id > %(after)s) RETURNING id;

-- name: planted: task_images missing
DELETE FROM task_images WHERE id = (SELECT min(id) FROM task_images WHERE id > %(after)s / 2) RETURNING id;

-- name: planted: task_images extra
INSERT INTO task_images (id, task_id, s3_key, s3_url, uploaded_by, created_at, updated_at)
SELECT max(id) + 1, max(task_id), 'planted', 'planted', 'planted', now(), now() FROM task_images RETURNING id;

-- name: planted: task_images different s3_key
UPDATE task_images SET s3_key = s3_key || '/'
WHERE id = (SELECT min(id) FROM task_images WHERE id > %(after)s / 2) RETURNING id;

-- name: planted: task_approvals different approver_id
UPDATE task_approvals SET approver_id = approver_id || '-'
WHERE task_id = (SELECT min(task_id) FROM task_approvals WHERE task_id > %(after)s) RETURNING task_id;

-- name: planted: group_tasks different reward
UPDATE group_tasks SET reward = coalesce(reward, 0) + 1
WHERE task_id = (SELECT min(task_id) FROM group_tasks WHERE task_id > %(after)s) RETURNING task_id;

-- name: commit times
-- When each row of a measurement was committed, in seconds since 1970. Needs track_commit_timestamp. Every 1009th task
-- of the lab belongs to a user without a Cognito sub, and is held back.
SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8
FROM tasks WHERE title LIKE %(stamp)s AND id %% 1009 <> 0;

-- name: applied rows
-- The subscriber's transaction that wrote each row: there, pg_xact_commit_timestamp returns the publisher's time.
SELECT id, xmin::text FROM tasks WHERE title LIKE %(stamp)s;

-- name: commits
-- When each transaction was committed, read from the server's WAL.
SELECT xid::text, extract(epoch FROM split_part(description, ';', 1)::timestamptz)::float8
FROM pg_get_wal_records_info(%(since)s::pg_lsn, pg_current_wal_flush_lsn())
WHERE resource_manager = 'Transaction' AND record_type = 'COMMIT';

-- name: end of log
SELECT pg_current_wal_flush_lsn()::text;

-- name: flush log
-- The WAL of a subscription is flushed a little later; any commit flushes it at once.
SELECT pg_logical_emit_message(true, 'benchmark', '');

-- name: log inspection
CREATE EXTENSION IF NOT EXISTS pg_walinspect;

-- name: publish
CREATE PUBLICATION benchmark FOR TABLE tasks;

-- name: subscribe
CREATE SUBSCRIPTION benchmark CONNECTION {publisher} PUBLICATION benchmark WITH (copy_data = false);

-- name: unsubscribe
DROP SUBSCRIPTION IF EXISTS benchmark;

-- name: unpublish
DROP PUBLICATION IF EXISTS benchmark;

-- name: written rows
SELECT count(*) FROM tasks WHERE title LIKE %(stamp)s;

-- name: write many tasks
UPDATE tasks SET title = format('bench %%s', %(stamp)s::text), updated_at = now()
WHERE id IN (SELECT id FROM tasks WHERE deleted_at IS NULL ORDER BY id LIMIT %(tasks)s);
