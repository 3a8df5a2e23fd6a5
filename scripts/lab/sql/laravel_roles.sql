-- What the roles may do on Laravel's server. `laravel` is the application: it owns the database and its tables, and its
-- sessions live in the application's time zone. `task_migrator` is the runbook's login, with what the runbook needs and
-- no more. Run as the superuser; the last two blocks in Laravel's database itself, around the making of its tables.

-- name: settings
ALTER ROLE laravel SET timezone = 'Asia/Tokyo';
GRANT pg_read_all_stats TO task_migrator;

-- name: on the database
GRANT CONNECT, CREATE ON DATABASE {database} TO task_migrator;

-- name: become the application
SET LOCAL ROLE laravel;

-- name: in the database
RESET ROLE;
GRANT USAGE, CREATE ON SCHEMA public TO task_migrator;
GRANT SELECT, TRIGGER ON tasks, task_images, task_tag, tags, users TO task_migrator;
GRANT REFERENCES ON users TO task_migrator;
