-- name: other active sessions
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
  AND application_name NOT LIKE 'task_migration %%';
