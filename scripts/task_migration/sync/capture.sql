-- The change log and the triggers that write it, the same on both sides. Append-only and without a look-up, so the
-- application gets no lock that it did not have before. Each entry says which row was written, never what; root is the
-- task that the row belongs to, NULL where a row belongs to many (a tag, a user).

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

-- name: function for insert
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) SELECT {part}, {column}, {root} FROM new_rows;
    RETURN NULL;
END
$function$;

-- name: function for update
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) SELECT {part}, {column}, {root} FROM new_rows;
    RETURN NULL;
END
$function$;

-- name: function for rekey
-- A row that gets another key or belongs to another task: the one that it was. To compare all old rows with all new ones
-- in the trigger above would cost every update of many rows a fifth of its speed.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) VALUES ({part}, OLD.{column}, {old_root});
    RETURN NULL;
END
$function$;

-- name: function for update of some columns
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root)
    SELECT DISTINCT {part}, written.key, written.root
    FROM (
        (SELECT {column} AS key, {root} AS root, {updates_of} FROM new_rows
         EXCEPT SELECT {column}, {root}, {updates_of} FROM old_rows)
        UNION ALL
        (SELECT {column} AS key, {root} AS root, {updates_of} FROM old_rows
         EXCEPT SELECT {column}, {root}, {updates_of} FROM new_rows)
    ) written;
    RETURN NULL;
END
$function$;

-- name: function for delete
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) SELECT {part}, {column}, {root} FROM old_rows;
    RETURN NULL;
END
$function$;

-- name: function for truncate
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO task_migration.change_log (part, key, root) SELECT {part}, {column}, {root} FROM {table};
    RETURN NULL;
END
$function$;

-- name: trigger for insert
CREATE OR REPLACE TRIGGER {trigger} AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: trigger for update
CREATE OR REPLACE TRIGGER {trigger} AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: trigger for update without the old rows
CREATE OR REPLACE TRIGGER {trigger} AFTER UPDATE ON {table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}();

-- name: trigger for rekey
CREATE OR REPLACE TRIGGER {trigger} AFTER UPDATE ON {table}
FOR EACH ROW WHEN ((OLD.{column}, {old_root}) IS DISTINCT FROM (NEW.{column}, {new_root})
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
-- enabled: 'O' and 'A' fire for the application's sessions, 'D' and 'R' do not
SELECT c.relname, t.tgname, t.tgenabled IN ('O', 'A'), coalesce(obj_description(t.oid, 'pg_trigger'), '')
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND NOT t.tgisinternal AND t.tgname LIKE 'task\_migration\_%%';

-- name: table exists
SELECT to_regclass(%(name)s) IS NOT NULL;
