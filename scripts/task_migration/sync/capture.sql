-- The change log and the triggers that write it, the same on both sides. The triggers only insert and look nothing up,
-- so the application needs no lock that it did not need before. An entry names the row that was written, never its
-- content: part is the table, key the row, root the task that the row belongs to, NULL where a row belongs to many tasks
-- (a tag, a user).

-- name: create change log
CREATE SCHEMA IF NOT EXISTS task_migration;
CREATE TABLE IF NOT EXISTS task_migration.change_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    part text NOT NULL,
    key bigint NOT NULL,
    root bigint,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
CREATE INDEX IF NOT EXISTS change_log_of_many ON task_migration.change_log (id) WHERE root IS NULL;

-- name: function for write
-- Serves the triggers for insert and for update.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) SELECT {source_table}, {key}, {task} FROM new_rows;
    RETURN NULL;
END
$function$;

-- name: function for rekey
-- Logs the old key of a row that gets another key or another task. Comparing all old rows with all new ones in the
-- function above would make every update of many rows a fifth slower.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) VALUES ({source_table}, OLD.{key}, {old_task});
    RETURN NULL;
END
$function$;

-- name: function for update of some columns
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root)
    SELECT DISTINCT {source_table}, written.key, written.root
    FROM (
        (SELECT {key} AS key, {task} AS root, {updates_of} FROM new_rows
         EXCEPT SELECT {key}, {task}, {updates_of} FROM old_rows)
        UNION ALL
        (SELECT {key} AS key, {task} AS root, {updates_of} FROM old_rows
         EXCEPT SELECT {key}, {task}, {updates_of} FROM new_rows)
    ) written;
    RETURN NULL;
END
$function$;

-- name: function for delete
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) SELECT {source_table}, {key}, {task} FROM old_rows;
    RETURN NULL;
END
$function$;

-- name: function for truncate
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) SELECT {source_table}, {key}, {task} FROM {table};
    RETURN NULL;
END
$function$;

-- name: trigger for insert
CREATE OR REPLACE TRIGGER {trigger} AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: trigger for update of some columns
CREATE OR REPLACE TRIGGER {trigger} AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: trigger for update
CREATE OR REPLACE TRIGGER {trigger} AFTER UPDATE ON {table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: trigger for rekey
CREATE OR REPLACE TRIGGER {trigger} AFTER UPDATE ON {table}
FOR EACH ROW WHEN ((OLD.{key}, {old_task}) IS DISTINCT FROM (NEW.{key}, {new_task})
                   AND coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: trigger for delete
CREATE OR REPLACE TRIGGER {trigger} AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: trigger for truncate
CREATE OR REPLACE TRIGGER {trigger} BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: comment on trigger
COMMENT ON TRIGGER {trigger} ON {table} IS {comment};

-- name: drop trigger
DROP TRIGGER IF EXISTS {trigger} ON {table};

-- name: drop function
DROP FUNCTION IF EXISTS {function}();

-- name: drop change log
DROP TABLE IF EXISTS task_migration.change_log;

-- name: installed triggers
-- tgenabled: 'O' and 'A' fire in the application's sessions, 'D' and 'R' do not
SELECT c.relname, t.tgname, t.tgenabled IN ('O', 'A'), coalesce(obj_description(t.oid, 'pg_trigger'), '')
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND NOT t.tgisinternal AND t.tgname LIKE 'task\_migration\_%%';

-- name: table exists
SELECT to_regclass(%(name)s) IS NOT NULL;
