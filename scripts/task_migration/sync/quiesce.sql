-- What an application writes while it is watched, counted as it reaches the change log: by sequences, for an entry may be
-- carried and gone before anybody looks, and what is not committed yet counts as well. Entries that we put there
-- ourselves come from sessions of the sync, whose inserts fire nothing.

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
-- Writes of the application's that are on the log now; what has no claim is not one.
SELECT count(*) FROM task_migration.change_log WHERE part = ANY (%(tables)s) AND isfinite(changed_at);
