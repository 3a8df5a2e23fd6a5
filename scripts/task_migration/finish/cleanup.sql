-- The end of the migration: lists the objects of the runbook in a database, and drops those that no other file drops.

-- name: objects of the runbook
-- Everything in the schema task_migration, and the triggers on the application's tables. An object that depends on another
-- one (an index, the sequence of an identity column) is dropped with it.
SELECT kind, name FROM (
    SELECT 'trigger' AS kind, t.tgname || ' on ' || c.relname AS name
    FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND NOT t.tgisinternal AND starts_with(t.tgname, 'task_migration_')
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, c.relname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'task_migration' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                        AND c.relkind = 'S')
    UNION ALL
    SELECT 'function', p.proname
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'task_migration'
) objects
ORDER BY kind DESC, name;

-- name: is empty
SELECT NOT EXISTS (SELECT FROM {table});

-- name: drop table
DROP TABLE IF EXISTS {table};

-- name: drop sequence
DROP SEQUENCE IF EXISTS {sequence};

-- name: drop function
DROP FUNCTION IF EXISTS {function}();

-- name: drop followers
DROP TRIGGER IF EXISTS task_migration_follow_insert ON users;
DROP TRIGGER IF EXISTS task_migration_follow_update ON users;
DROP TRIGGER IF EXISTS task_migration_follow_delete ON users;
DROP FUNCTION IF EXISTS task_migration.follow_cognito_sub();

-- name: comment on cognito_user_mapping
COMMENT ON TABLE public.cognito_user_mapping IS {comment};

-- name: drop schema
-- No CASCADE: with an unknown object in it, the schema remains and the object is reported.
DROP SCHEMA IF EXISTS task_migration;

-- name: schema is empty
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'task_migration')
   AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'task_migration')
   AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'task_migration');
