-- The identity of a database, and the stamp that phase 2.1 writes on the schema task_migration.

-- name: identity
-- Renaming a database does not change its oid, and a copy on the same server has another oid. A dump and a copy include
-- the comment.
SELECT d.oid::bigint AS database_oid,
       pg_catalog.to_regnamespace('task_migration') IS NOT NULL AS has_schema,
       pg_catalog.obj_description(pg_catalog.to_regnamespace('task_migration'), 'pg_namespace') AS comment,
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS may_read_identifier
FROM pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database();

-- name: system identifier
SELECT system_identifier::text FROM pg_catalog.pg_control_system();

-- name: stamp
COMMENT ON SCHEMA task_migration IS {comment};
