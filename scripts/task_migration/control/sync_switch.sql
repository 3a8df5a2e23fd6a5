-- The runtime switch, in Laravel's database. The sync reads it before every batch. A missing row means off.

-- name: there
SELECT pg_catalog.to_regclass('task_migration.switch') IS NOT NULL;

-- name: create
CREATE SCHEMA IF NOT EXISTS task_migration;
CREATE TABLE IF NOT EXISTS task_migration.switch (
    name       text PRIMARY KEY,
    is_on      boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL,
    reason     text NOT NULL
);

-- name: read
SELECT is_on, changed_at, changed_by, reason FROM task_migration.switch WHERE name = %(name)s;

-- name: read for a batch
-- FOR SHARE, so that turning the switch waits until the batch has ended.
SELECT is_on FROM task_migration.switch WHERE name = %(name)s FOR SHARE;

-- name: turn
-- Returns a row only if the state changed. It waits for a batch that holds the row FOR SHARE.
INSERT INTO task_migration.switch AS s (name, is_on, changed_by, reason)
VALUES (%(name)s, %(is_on)s, %(changed_by)s, %(reason)s)
ON CONFLICT (name) DO UPDATE
SET is_on = excluded.is_on, changed_at = clock_timestamp(), changed_by = excluded.changed_by, reason = excluded.reason
WHERE s.is_on <> excluded.is_on
RETURNING is_on;
