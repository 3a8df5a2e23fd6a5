-- How a session of the runbook is set, and what is in effect then. Names of functions are qualified, because the
-- search path is one of the settings.

-- name: set
-- Of session_replication_role only another value is set, because only a superuser may set it.
SELECT pg_catalog.set_config(wanted.name, wanted.value, false)
FROM ROWS FROM (pg_catalog.unnest(%(names)s::text[]), pg_catalog.unnest(%(values)s::text[])) AS wanted (name, value)
WHERE CASE wanted.name
          WHEN 'session_replication_role'
          THEN pg_catalog.current_setting('session_replication_role') <> 'origin'
               AND (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user)
          WHEN 'synchronous_commit'
          THEN pg_catalog.current_setting('synchronous_commit') <> 'remote_apply'
          ELSE true
      END;

-- name: in effect
SELECT wanted.name, pg_catalog.current_setting(wanted.name)
FROM pg_catalog.unnest(%(names)s::text[]) AS wanted (name);

-- name: database
SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %(dbname)s;
