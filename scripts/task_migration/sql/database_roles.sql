-- The database roles of the migration: one login for each purpose, with what it may do and no more.

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

-- name: let the owner make things
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {role};
GRANT USAGE, CREATE ON SCHEMA public TO {role};

-- name: let in
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA public TO {role};

-- name: whoami
SELECT current_user::text, current_database()::text;

-- name: tables that exist
-- with the sequences that fill their columns
SELECT n.nspname, c.relname,
       coalesce((SELECT array_agg(s.relname ORDER BY s.relname)
                 FROM pg_catalog.pg_depend d
                 JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                 WHERE d.refobjid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass
                   AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'a'), '{{}}')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND (n.nspname = 'task_migration' OR (n.nspname = 'public' AND c.relname = ANY (%(tables)s)));

-- name: schema exists
SELECT pg_catalog.to_regnamespace('task_migration') IS NOT NULL;

-- name: let into ours
GRANT USAGE ON SCHEMA task_migration TO {role};

-- name: grant
GRANT {privileges} ON {table} TO {role};

-- name: grant the sequence
GRANT USAGE ON SEQUENCE {sequence} TO {role};

-- name: hand over
REASSIGN OWNED BY {role} TO {heir};

-- name: forget
DROP OWNED BY {role};

-- name: drop role
DROP ROLE {role};

-- name: leave
REVOKE {group} FROM {role};
