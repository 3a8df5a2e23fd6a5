-- The history of the hourly check, in Laravel's database. Rows are only added, as in the journal.

-- name: there
SELECT pg_catalog.to_regclass('task_migration.consistency') IS NOT NULL;

-- name: create consistency
-- passed is NULL if the check could not run. alerted: an alert was sent, or the inventory has no receiver.
CREATE TABLE task_migration.consistency (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    passed            boolean,
    seconds           double precision NOT NULL,
    differences       bigint NOT NULL,
    keys              text[] NOT NULL,
    change_log_length bigint NOT NULL,
    alerted           boolean NOT NULL,
    details           jsonb NOT NULL CHECK (jsonb_typeof(details) = 'object')
);
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON task_migration.consistency
    FOR EACH STATEMENT EXECUTE FUNCTION task_migration.refuse_rewriting();
ALTER TABLE task_migration.consistency ENABLE ALWAYS TRIGGER only_grows;

-- name: keep
INSERT INTO task_migration.consistency (passed, seconds, differences, keys, change_log_length, alerted, details)
VALUES (%(passed)s, %(seconds)s, %(differences)s, %(keys)s, %(change_log_length)s, %(alerted)s, %(details)s);

-- name: newest
SELECT at, passed, seconds, differences, change_log_length, details,
       extract(epoch FROM clock_timestamp() - at)::float8 AS age_seconds
FROM task_migration.consistency ORDER BY id DESC LIMIT 1;

-- name: last_result
-- The last result (NULL: the check could not run), and how many seconds ago an alert about a failure was sent.
SELECT newest.passed,
       (SELECT extract(epoch FROM clock_timestamp() - max(at))::float8 FROM task_migration.consistency
        WHERE alerted AND passed IS NOT TRUE)
FROM task_migration.consistency newest ORDER BY newest.id DESC LIMIT 1;
