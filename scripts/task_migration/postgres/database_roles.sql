-- The database roles of the migration: one login for each purpose, with the privileges it needs and no others.

-- name: roles that exist
SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY (%(names)s);

-- name: create role
CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;

-- name: set password
ALTER ROLE {role} PASSWORD {password};

-- name: become a member
GRANT {group} TO {role};

-- name: is a member
SELECT pg_catalog.pg_has_role(%(role)s, %(group)s, 'USAGE');

-- name: iam
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rds_iam');

-- name: owner of the tables
SELECT DISTINCT pg_catalog.pg_get_userbyid(c.relowner)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname = ANY (%(tables)s);

-- name: let the owner create objects
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {role};
GRANT USAGE, CREATE ON SCHEMA public TO {role};

-- name: let in
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA public TO {role};

-- name: whoami
SELECT current_user::text, current_database()::text;

-- name: ours
-- the tables of the schema task_migration
SELECT c.relname::text FROM pg_catalog.pg_class c
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = pg_catalog.to_regnamespace('task_migration')
ORDER BY c.relname;

-- name: lacking schema
SELECT rolname::text FROM pg_catalog.pg_roles
WHERE rolname = ANY (%(logins)s) AND pg_catalog.to_regnamespace('task_migration') IS NOT NULL
  AND NOT pg_catalog.has_schema_privilege(oid, pg_catalog.to_regnamespace('task_migration')::oid, 'USAGE');

-- name: lacking
-- declared privileges that are not granted yet, for roles and tables that exist
SELECT wanted.login, n.nspname::text, c.relname::text, array_agg(wanted.privilege ORDER BY wanted.privilege)
FROM unnest(%(logins)s::text[], %(schemas)s::text[], %(tables)s::text[], %(privileges)s::text[])
     AS wanted (login, schema_name, table_name, privilege)
JOIN pg_catalog.pg_roles r ON r.rolname = wanted.login
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name AND c.relkind IN ('r', 'p')
WHERE NOT pg_catalog.has_table_privilege(r.oid, c.oid, wanted.privilege)
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3;

-- name: lacking sequences
-- the sequences of tables for which INSERT is declared
SELECT DISTINCT wanted.login, n.nspname::text, s.relname::text
FROM unnest(%(logins)s::text[], %(schemas)s::text[], %(tables)s::text[], %(privileges)s::text[])
     AS wanted (login, schema_name, table_name, privilege)
JOIN pg_catalog.pg_roles r ON r.rolname = wanted.login
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name
JOIN pg_catalog.pg_depend d ON d.refobjid = c.oid AND d.deptype = 'a'
     AND d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
WHERE wanted.privilege = 'INSERT' AND NOT pg_catalog.has_sequence_privilege(r.oid, s.oid, 'USAGE')
ORDER BY 1, 2, 3;

-- name: let into ours
GRANT USAGE ON SCHEMA task_migration TO {role};

-- name: grant
GRANT {privileges} ON {table} TO {role};

-- name: grant the sequence
GRANT USAGE ON SEQUENCE {sequence} TO {role};

-- name: schemas of
SELECT n.nspname
FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
WHERE r.rolname = %(role)s;

-- name: hand over a schema
-- Before the objects in it, because their new owner needs CREATE on the schema.
ALTER SCHEMA {schema} OWNER TO {heir};

-- name: hand over
REASSIGN OWNED BY {role} TO {heir};

-- name: forget
DROP OWNED BY {role};

-- name: drop role
DROP ROLE {role};

-- name: leave
REVOKE {group} FROM {role};
