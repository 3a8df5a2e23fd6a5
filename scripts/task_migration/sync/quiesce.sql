-- Counts the application's writes as they reach the change log. The counters are sequences, because an entry may be synced
-- and deleted before it is read, and because writes that are not committed yet count as well. The runbook's entries come
-- from sessions of the sync, whose inserts fire no trigger.

-- name: create counter
CREATE SEQUENCE IF NOT EXISTS {counter};

-- name: function
CREATE OR REPLACE FUNCTION task_migration.count_written() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    PERFORM nextval(to_regclass('task_migration.' || quote_ident('written_' || part))) FROM new_rows;
    RETURN NULL;
END
$function$;

-- name: trigger
CREATE OR REPLACE TRIGGER task_migration_count AFTER INSERT ON task_migration.change_log REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION task_migration.count_written();

-- name: drop trigger
DROP TRIGGER IF EXISTS task_migration_count ON task_migration.change_log;
DROP FUNCTION IF EXISTS task_migration.count_written();

-- name: drop counter
DROP SEQUENCE IF EXISTS {counter};

-- name: counted
SELECT name, coalesce(pg_sequence_last_value(to_regclass('task_migration.' || quote_ident('written_' || name))), 0)
FROM unnest(%(tables)s::text[]) AS counted (name);

-- name: waiting
-- The application's writes that are on the log now; an entry without the time of a write does not count.
SELECT count(*) FROM task_migration.change_log WHERE part = ANY (%(tables)s) AND isfinite(changed_at);
