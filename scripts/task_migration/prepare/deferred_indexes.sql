-- The work deferred to the end of a load, stored in task_migration.deferred_ddl: secondary indexes and foreign keys, whose
-- definitions are stored in the transaction that drops them, and the quarantine of each table.

-- name: secondary indexes
-- Unique indexes are not dropped: loaded rows must satisfy them, and the merge needs the one on the key.
SELECT t.relname, i.relname, pg_get_indexdef(x.indexrelid)
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = 'public' AND t.relname = ANY (%(tables)s) AND NOT x.indisunique
ORDER BY t.relname, i.relname;

-- name: foreign keys
SELECT t.relname, c.conname, pg_get_constraintdef(c.oid)
FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = 'public' AND t.relname = ANY (%(tables)s) AND c.contype = 'f'
ORDER BY t.relname, c.conname;

-- name: keep definition
INSERT INTO task_migration.deferred_ddl (kind, table_name, name, definition)
VALUES (%(kind)s, %(table_name)s, %(name)s, %(definition)s);

-- name: drop index
DROP INDEX {name};

-- name: drop constraint
ALTER TABLE {table} DROP CONSTRAINT {name};

-- name: kept definitions
SELECT ordinal, kind, table_name, name, definition FROM task_migration.deferred_ddl ORDER BY ordinal;

-- name: add constraint
ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID;

-- name: validate constraint
ALTER TABLE {table} VALIDATE CONSTRAINT {name};

-- name: constraint waits for validation
UPDATE task_migration.deferred_ddl SET kind = 'unvalidated' WHERE ordinal = %(ordinal)s;

-- name: forget definition
DELETE FROM task_migration.deferred_ddl WHERE ordinal = %(ordinal)s;
