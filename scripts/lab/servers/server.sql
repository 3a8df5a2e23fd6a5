-- Logins and databases of a PostgreSQL server. Run as the superuser.

-- name: role exists
SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %(name)s;

-- name: create login
CREATE ROLE {login} LOGIN NOSUPERUSER {attributes};

-- name: let others see sessions
-- As the master user of RDS can.
GRANT pg_read_all_stats TO {login} WITH ADMIN OPTION;

-- name: set password
ALTER ROLE {login} PASSWORD {password};

-- name: database exists
SELECT 1 FROM pg_catalog.pg_database WHERE datname = %(name)s;

-- name: create database
CREATE DATABASE {database} OWNER {owner} TEMPLATE {template} STRATEGY FILE_COPY;

-- name: databases
SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname;

-- name: tables of
SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = %(schema)s ORDER BY tablename;

-- name: rows
SELECT row_to_json(one)::text FROM {table} one;

-- name: drop database
DROP DATABASE IF EXISTS {database} WITH (FORCE);
