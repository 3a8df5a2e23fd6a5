-- Whose a database is: what PostgreSQL says of it, and what phase 2.1 left on the schema task_migration.

-- name: told
-- No rename changes the database's oid, and a copy made on the same server has another. The comment goes along with a
-- dump, and with the copy.
SELECT d.oid::bigint AS database_oid,
       pg_catalog.to_regnamespace('task_migration') IS NOT NULL AS has_schema,
       pg_catalog.obj_description(pg_catalog.to_regnamespace('task_migration'), 'pg_namespace') AS comment,
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS may_ask
FROM pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database();

-- name: system identifier
SELECT system_identifier::text FROM pg_catalog.pg_control_system();

-- name: stamp
COMMENT ON SCHEMA task_migration IS {comment};
