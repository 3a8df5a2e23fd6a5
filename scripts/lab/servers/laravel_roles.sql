-- The roles of Laravel's server. `laravel` is the application: it owns the database and its tables, and its sessions use
-- the application's time zone. `task_migrator` is the runbook's login. It is a member of the owner, because only a table's
-- owner can drop a trigger. `dba` is not a superuser, as on RDS: it can create roles and make them members of the owner.

-- name: settings
ALTER ROLE laravel SET timezone = 'Asia/Tokyo';
GRANT laravel, pg_read_all_stats TO task_migrator;
GRANT laravel, pg_read_all_stats TO dba WITH ADMIN OPTION;

-- name: become the application
SET LOCAL ROLE laravel;

-- name: leave the application
RESET ROLE;
