-- The fence on Laravel's task tables: once all of it is active, only the sync writes tasks there, and the database itself
-- where it deletes or changes a row because the user it refers to was deleted.

-- name: rows that it refers to
-- What the database does to a row of this table when the row that it refers to is deleted: 'c' deletes it, 'n' sets the
-- column to NULL. Keys of several columns are not supported: such changes are refused.
SELECT k.confdeltype::text, a.attname, pn.nspname, pc.relname, pa.attname
FROM pg_constraint k
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
JOIN pg_class pc ON pc.oid = k.confrelid
JOIN pg_namespace pn ON pn.oid = pc.relnamespace
JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = k.confkey[1]
WHERE k.contype = 'f' AND k.conrelid = to_regclass('public.' || quote_ident(%(table)s))
  AND cardinality(k.conkey) = 1 AND k.confdeltype IN ('c', 'n')
ORDER BY 1, 2, 3, 4, 5;

-- name: is gone
(OLD.{column} IS NOT NULL AND NOT EXISTS (SELECT FROM {parent} parent WHERE parent.{parent_key} = OLD.{column}))

-- name: is set to null
IF {is_gone} THEN
            expected.{column} := NULL;
        END IF;

-- name: function
-- Allows only what the database does itself (inside another trigger): it deletes a row whose parent was deleted in this
-- transaction, or sets the reference to NULL and changes nothing else. No standard uses the SQLSTATE class TM.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    expected {table};
BEGIN
    IF TG_OP = 'DELETE' AND pg_trigger_depth() > 1 THEN
        IF {deletes} THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'UPDATE' AND pg_trigger_depth() > 1 THEN
        expected := OLD;
        {sets_null};
        IF NEW *= expected AND OLD *<> expected THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION USING
        ERRCODE = 'TM001',
        MESSAGE = 'tasks are written by the Task Service now (fenced since ' || TG_ARGV[0] || '): ' || TG_OP || ' on '
                  || TG_TABLE_NAME || ' was refused',
        HINT = 'Write through the Task Service''s API; ansible-playbook status.yml shows whether a rollback is possible.';
END
$function$;

-- name: row trigger
CREATE OR REPLACE TRIGGER {trigger} BEFORE INSERT OR UPDATE OR DELETE ON {table}
FOR EACH ROW WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}({since});

-- name: truncate trigger
CREATE OR REPLACE TRIGGER {trigger} BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT WHEN (coalesce(current_setting('task_migration.origin', true), '') <> 'sync')
EXECUTE FUNCTION {function}({since});

-- name: enable
-- ALWAYS: session_replication_role does not disable it.
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger};

-- name: disable
ALTER TABLE {table} DISABLE TRIGGER {trigger};

-- name: comment
COMMENT ON TRIGGER {trigger} ON {table} IS {comment};

-- name: drop trigger
DROP TRIGGER IF EXISTS {trigger} ON {table};

-- name: drop function
DROP FUNCTION IF EXISTS {function}();

-- name: lock
-- The lock of CREATE TRIGGER: it waits for writers, and not for readers.
LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE;

-- name: now
SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');

-- name: installed
SELECT c.relname, t.tgname, t.tgenabled::text, coalesce(obj_description(t.oid, 'pg_trigger'), '')
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND t.tgname IN ('task_migration_fence', 'task_migration_fence_truncate')
ORDER BY c.relname, t.tgname;

-- name: functions
SELECT p.proname
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'task_migration' AND starts_with(p.proname, 'fence_')
ORDER BY p.proname;
