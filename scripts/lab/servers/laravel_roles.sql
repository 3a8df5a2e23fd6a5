-- What the roles may do on Laravel's server. `laravel` is the application: it owns the database and its tables, and its
-- sessions live in the application's time zone. `task_migrator` is the runbook's login: a member of the owner, because
-- PostgreSQL lets none but a table's owner take a trigger off again. `dba` is no superuser, as on RDS: it may make roles,
-- and let them be members of the owner.

-- name: settings
ALTER ROLE laravel SET timezone = 'Asia/Tokyo';
GRANT laravel, pg_read_all_stats TO task_migrator;
GRANT laravel, pg_read_all_stats TO dba WITH ADMIN OPTION;

-- name: become the application
SET LOCAL ROLE laravel;

-- name: leave the application
RESET ROLE;
