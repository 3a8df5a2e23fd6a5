-- The plan's table that maps Laravel's users to Cognito users, in Laravel's database, and the triggers that update it when
-- users.cognito_sub changes.

-- name: create table
CREATE TABLE IF NOT EXISTS cognito_user_mapping (
    laravel_user_id bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    cognito_sub varchar(255) NOT NULL UNIQUE,
    created_at timestamp DEFAULT now()
);

-- name: create follower
-- A sub that another user has is not mapped: the application's write succeeds, and verify names the user. When that other
-- user gives the sub up, it is mapped. So two users may exchange or merge their subs in any order.
CREATE SCHEMA IF NOT EXISTS task_migration;
CREATE OR REPLACE FUNCTION task_migration.follow_cognito_sub() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    old_sub text := CASE WHEN TG_OP <> 'INSERT' THEN nullif(OLD.cognito_sub, '') END;
    new_sub text := CASE WHEN TG_OP <> 'DELETE' THEN nullif(NEW.cognito_sub, '') END;
BEGIN
    IF old_sub IS NOT NULL THEN
        DELETE FROM public.cognito_user_mapping WHERE laravel_user_id = OLD.id AND cognito_sub = old_sub;
        INSERT INTO public.cognito_user_mapping (laravel_user_id, cognito_sub)
        SELECT u.id, old_sub FROM public.users u WHERE u.cognito_sub = old_sub AND u.id <> OLD.id ORDER BY u.id LIMIT 1
        ON CONFLICT DO NOTHING;
    END IF;
    IF new_sub IS NOT NULL THEN
        INSERT INTO public.cognito_user_mapping (laravel_user_id, cognito_sub) VALUES (NEW.id, new_sub)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$function$;
CREATE OR REPLACE TRIGGER task_migration_follow_insert AFTER INSERT ON users
FOR EACH ROW WHEN (NEW.cognito_sub IS NOT NULL) EXECUTE FUNCTION task_migration.follow_cognito_sub();
CREATE OR REPLACE TRIGGER task_migration_follow_update AFTER UPDATE ON users
FOR EACH ROW WHEN (NEW.cognito_sub IS DISTINCT FROM OLD.cognito_sub)
EXECUTE FUNCTION task_migration.follow_cognito_sub();
CREATE OR REPLACE TRIGGER task_migration_follow_delete AFTER DELETE ON users
FOR EACH ROW WHEN (OLD.cognito_sub IS NOT NULL) EXECUTE FUNCTION task_migration.follow_cognito_sub();

-- name: register users
INSERT INTO cognito_user_mapping (laravel_user_id, cognito_sub)
SELECT u.id, u.cognito_sub
FROM users u
WHERE nullif(u.cognito_sub, '') IS NOT NULL
  AND NOT EXISTS (SELECT FROM cognito_user_mapping known WHERE known.laravel_user_id = u.id)
ON CONFLICT DO NOTHING;

-- name: analyze
ANALYZE cognito_user_mapping;

-- name: users with a sub
SELECT count(*) FROM users WHERE nullif(cognito_sub, '') IS NOT NULL;

-- name: users to register
SELECT count(*)
FROM users u
WHERE nullif(u.cognito_sub, '') IS NOT NULL
  AND NOT EXISTS (SELECT FROM cognito_user_mapping known WHERE known.laravel_user_id = u.id);

-- name: users with a sub and no mapping
SELECT u.id
FROM users u
WHERE nullif(u.cognito_sub, '') IS NOT NULL
  AND NOT EXISTS (SELECT FROM cognito_user_mapping known WHERE known.laravel_user_id = u.id)
ORDER BY u.id;

-- name: subs of two users
SELECT array_agg(id ORDER BY id)
FROM users
WHERE nullif(cognito_sub, '') IS NOT NULL
GROUP BY cognito_sub
HAVING count(*) > 1
ORDER BY min(id);

-- name: users with two subs
SELECT u.id
FROM users u
JOIN cognito_user_mapping known ON known.laravel_user_id = u.id
WHERE known.cognito_sub IS DISTINCT FROM nullif(u.cognito_sub, '')
ORDER BY u.id;

-- name: table exists
SELECT to_regclass('public.cognito_user_mapping') IS NOT NULL;

-- name: followers
SELECT count(*)
FROM pg_trigger
WHERE tgrelid = to_regclass('public.users') AND tgenabled IN ('O', 'A')
  AND tgname IN ('task_migration_follow_insert', 'task_migration_follow_update', 'task_migration_follow_delete');

-- name: drop followers
DROP TRIGGER IF EXISTS task_migration_follow_insert ON users;
DROP TRIGGER IF EXISTS task_migration_follow_update ON users;
DROP TRIGGER IF EXISTS task_migration_follow_delete ON users;
DROP FUNCTION IF EXISTS task_migration.follow_cognito_sub();

-- name: drop table
DROP TABLE IF EXISTS cognito_user_mapping;
