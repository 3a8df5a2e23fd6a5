-- The plan's table that maps Laravel's users to Cognito users, in Laravel's database, and the triggers that update it when
-- users.cognito_sub changes.

-- name: create table
CREATE TABLE IF NOT EXISTS cognito_user_mapping (
    laravel_user_id bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    cognito_sub varchar(255) NOT NULL UNIQUE,
    created_at timestamp DEFAULT now()
);

-- name: create follower
-- A sub that another user already has is not mapped: the application's write succeeds, and the user's tasks are quarantined
-- as owner_unmapped.
CREATE SCHEMA IF NOT EXISTS task_migration;
CREATE OR REPLACE FUNCTION task_migration.follow_cognito_sub() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF nullif(NEW.cognito_sub, '') IS NULL THEN
        DELETE FROM public.cognito_user_mapping WHERE laravel_user_id = NEW.id;
    ELSE
        INSERT INTO public.cognito_user_mapping AS known (laravel_user_id, cognito_sub) VALUES (NEW.id, NEW.cognito_sub)
        ON CONFLICT (laravel_user_id) DO UPDATE SET cognito_sub = excluded.cognito_sub
        WHERE known.cognito_sub IS DISTINCT FROM excluded.cognito_sub;
    END IF;
    RETURN NULL;
EXCEPTION WHEN unique_violation THEN
    DELETE FROM public.cognito_user_mapping WHERE laravel_user_id = NEW.id;
    RETURN NULL;
END
$function$;
CREATE OR REPLACE TRIGGER task_migration_follow_insert AFTER INSERT ON users
FOR EACH ROW WHEN (NEW.cognito_sub IS NOT NULL) EXECUTE FUNCTION task_migration.follow_cognito_sub();
CREATE OR REPLACE TRIGGER task_migration_follow_update AFTER UPDATE ON users
FOR EACH ROW WHEN (NEW.cognito_sub IS DISTINCT FROM OLD.cognito_sub)
EXECUTE FUNCTION task_migration.follow_cognito_sub();

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
  AND tgname IN ('task_migration_follow_insert', 'task_migration_follow_update');

-- name: drop followers
DROP TRIGGER IF EXISTS task_migration_follow_insert ON users;
DROP TRIGGER IF EXISTS task_migration_follow_update ON users;
DROP FUNCTION IF EXISTS task_migration.follow_cognito_sub();

-- name: drop table
DROP TABLE IF EXISTS cognito_user_mapping;
