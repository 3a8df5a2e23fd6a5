-- What the soak gate reads from Laravel's database.

-- name: switched
-- Tables whose fence was altered after it was created. Trigger and comment are written by one transaction, and each
-- catalog row holds the transaction that wrote it last: disabling and enabling a trigger rewrites only its own row.
SELECT DISTINCT c.relname
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_description d ON d.objoid = t.oid AND d.classoid = 'pg_trigger'::regclass AND d.objsubid = 0
WHERE n.nspname = 'public' AND t.tgname IN ('task_migration_fence', 'task_migration_fence_truncate')
  AND d.xmin IS DISTINCT FROM t.xmin
ORDER BY c.relname;
