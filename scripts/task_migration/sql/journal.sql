-- The record of what was done, and the verdicts that later gates lean on: both only ever grow.

-- name: there
SELECT pg_catalog.to_regclass('task_migration.journal') IS NOT NULL AS journal,
       pg_catalog.to_regclass('task_migration.verdict') IS NOT NULL AS verdict;

-- name: create schema
CREATE SCHEMA IF NOT EXISTS task_migration;
CREATE OR REPLACE FUNCTION task_migration.refuse_rewriting() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $refuse$
BEGIN
    RAISE EXCEPTION '%.% only ever grows: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP;
END
$refuse$;

-- name: create journal
CREATE TABLE task_migration.journal (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    operator text NOT NULL,
    host     text NOT NULL,
    command  text NOT NULL,
    phase    text NOT NULL,
    item     text NOT NULL,
    result   text NOT NULL CHECK (result IN ('started', 'done', 'failed', 'refused')),
    evidence jsonb NOT NULL CHECK (jsonb_typeof(evidence) = 'object')
);
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON task_migration.journal
    FOR EACH STATEMENT EXECUTE FUNCTION task_migration.refuse_rewriting();
-- ALWAYS: also in a session that has put its session_replication_role to replica.
ALTER TABLE task_migration.journal ENABLE ALWAYS TRIGGER only_grows;

-- name: create verdict
CREATE TABLE task_migration.verdict (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                 timestamptz NOT NULL DEFAULT clock_timestamp(),
    passed             boolean NOT NULL,
    schema_fingerprint text NOT NULL,
    summary            jsonb NOT NULL CHECK (jsonb_typeof(summary) = 'object')
);
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON task_migration.verdict
    FOR EACH STATEMENT EXECUTE FUNCTION task_migration.refuse_rewriting();
ALTER TABLE task_migration.verdict ENABLE ALWAYS TRIGGER only_grows;

-- name: append
INSERT INTO task_migration.journal (operator, host, command, phase, item, result, evidence)
VALUES (%(operator)s, %(host)s, %(command)s, %(phase)s, %(item)s, %(result)s, %(evidence)s);

-- name: entries
SELECT id, at, operator, host, command, phase, item, result, evidence
FROM task_migration.journal
WHERE %(phase)s::text IS NULL OR phase = %(phase)s
ORDER BY id;

-- name: keep verdict
INSERT INTO task_migration.verdict (passed, schema_fingerprint, summary)
VALUES (%(passed)s, %(schema_fingerprint)s, %(summary)s)
RETURNING id, at, passed, schema_fingerprint, summary;

-- name: latest verdict
SELECT id, at, passed, schema_fingerprint, summary
FROM task_migration.verdict
ORDER BY id DESC
LIMIT 1;
