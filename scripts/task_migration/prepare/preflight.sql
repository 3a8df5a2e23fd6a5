-- The checks of Laravel's database before anything is changed. Each finding returns a count and some keys.

-- name: server
SELECT current_setting('server_version_num')::integer, current_user, current_database();

-- name: time zone known
SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %(timezone)s);

-- name: owners without membership
SELECT DISTINCT pg_get_userbyid(c.relowner)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname = ANY (%(tables)s)
  AND NOT pg_has_role(current_user, c.relowner, 'USAGE');

-- name: unreadable tables
SELECT c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname = ANY (%(tables)s) AND NOT has_table_privilege(c.oid, 'SELECT');

-- name: may create
SELECT has_database_privilege(current_database(), 'CREATE'), has_schema_privilege('public', 'CREATE'),
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE');

-- name: missing tables
SELECT wanted FROM unnest(%(tables)s::text[]) wanted WHERE to_regclass('public.' || quote_ident(wanted)) IS NULL;

-- name: filtered by row security
-- Which logins of the runbook see only a part of which tables: row_security_active() for another role than one's own.
SELECT role.rolname, array_agg(c.relname ORDER BY c.relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles role ON role.rolname = ANY (%(logins)s)
WHERE n.nspname = 'public' AND c.relname = ANY (%(tables)s) AND c.relrowsecurity
  AND NOT role.rolsuper AND NOT role.rolbypassrls
  AND (c.relforcerowsecurity OR NOT pg_has_role(role.oid, c.relowner, 'USAGE'))
GROUP BY role.rolname
ORDER BY role.rolname;

-- name: titles longer than 100
SELECT count(*), (array_agg(id ORDER BY id))[1:10] FROM tasks WHERE deleted_at IS NULL AND length(title) > 100;

-- name: users without a sub
SELECT count(*), (array_agg(u.id ORDER BY u.id))[1:10]
FROM users u
WHERE nullif(u.cognito_sub, '') IS NULL
  AND EXISTS (SELECT FROM tasks t WHERE t.user_id = u.id AND t.deleted_at IS NULL);

-- name: priorities out of range
SELECT count(*), (array_agg(id ORDER BY id))[1:10]
FROM tasks WHERE deleted_at IS NULL AND priority NOT BETWEEN 1 AND 5;

-- name: approvers without a sub
SELECT count(*), (array_agg(t.id ORDER BY t.id))[1:10]
FROM tasks t
JOIN users u ON u.id = t.approved_by_user_id
WHERE t.deleted_at IS NULL AND nullif(u.cognito_sub, '') IS NULL;

-- name: object addresses too long
-- percent-encoding turns a byte into up to three characters
SELECT count(*), (array_agg(id ORDER BY id))[1:10]
FROM task_images
WHERE length('https://.s3.amazonaws.com/' || current_setting('task_migration.s3_bucket'))
      + CASE WHEN file_path ~ '^[A-Za-z0-9/._~-]*$' THEN length(file_path) ELSE 3 * octet_length(file_path) END > 1000;

-- name: greatest ids
-- Of all rows; of the rows whose id Laravel assigned, or its sequences' last value if higher; and the number of rows from
-- the offset on: the Task Service's own, synced back in an earlier attempt.
SELECT greatest((SELECT max(id) FROM tasks), (SELECT max(id) FROM task_images), 0),
       greatest((SELECT max(id) FROM tasks WHERE id < %(offset)s),
                (SELECT max(id) FROM task_images WHERE id < %(offset)s),
                pg_sequence_last_value(pg_get_serial_sequence('tasks', 'id')::regclass),
                pg_sequence_last_value(pg_get_serial_sequence('task_images', 'id')::regclass), 0),
       (SELECT count(*) FROM tasks WHERE id >= %(offset)s) + (SELECT count(*) FROM task_images WHERE id >= %(offset)s);

-- name: ids of the last 30 days
SELECT coalesce(max(id) - min(id) + 1, 0)
FROM tasks
WHERE created_at > now() - interval '30 days' AND id < %(offset)s;

-- name: times in the future
SELECT count(*), (array_agg(id ORDER BY id))[1:10]
FROM tasks
WHERE created_at AT TIME ZONE current_setting('task_migration.laravel_timezone') > now() + interval '1 hour';

-- name: long transactions
SELECT count(*), coalesce(max(extract(epoch FROM now() - xact_start))::bigint, 0)
FROM pg_stat_activity
WHERE datname = current_database() AND xact_start < now() - interval '60 seconds' AND pid <> pg_backend_pid();

-- name: mapped users
SELECT count(*) FROM users WHERE nullif(cognito_sub, '') IS NOT NULL;
