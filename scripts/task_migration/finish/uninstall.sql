-- name: objects of the runbook
SELECT 'trigger ' || t.tgname || ' on ' || c.relname AS object
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND NOT t.tgisinternal AND starts_with(t.tgname, 'task_migration_')
UNION ALL
SELECT 'table cognito_user_mapping' WHERE to_regclass('public.cognito_user_mapping') IS NOT NULL
UNION ALL
SELECT 'schema task_migration' FROM pg_namespace WHERE nspname = 'task_migration'
ORDER BY object;

-- name: drop schema
DROP SCHEMA IF EXISTS task_migration CASCADE;
