-- The tables of both directions of the sync, in each database. The blocks "create ..." create them; the others read and
-- fill them.

-- name: exists
SELECT to_regclass('task_migration.' || quote_ident(%(table)s)) IS NOT NULL;

-- name: create lane
-- A task belongs to one lane, by its id. A worker that syncs a lane, in either direction, locks it on both sides.
CREATE TABLE task_migration.lane (lane smallint PRIMARY KEY);
INSERT INTO task_migration.lane SELECT generate_series(0, 7);

-- name: create conflict
-- Both sides wrote the same row before either write was synced: the winner, both images, and the log entries of the loser.
-- unit is the row group.
CREATE TABLE task_migration.conflict (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    unit text NOT NULL,
    key bigint NOT NULL,
    task_key bigint NOT NULL,
    winner text NOT NULL CHECK (winner IN ('laravel', 'task_service')),
    laravel_at timestamptz NOT NULL,
    task_service_at timestamptz NOT NULL,
    winner_image jsonb,
    loser_image jsonb,
    superseded jsonb NOT NULL
);

-- name: create quarantine
-- Rows that cannot be migrated into this database, or only without some of their values.
CREATE TABLE task_migration.quarantine (
    table_name text NOT NULL,
    key bigint NOT NULL,
    kind text NOT NULL,
    held_back boolean NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, key, kind)
);

-- name: store conflict
-- The times are seconds of Laravel's clock.
INSERT INTO task_migration.conflict
    (unit, key, task_key, winner, laravel_at, task_service_at, winner_image, loser_image, superseded)
VALUES (%(row_group)s, %(key)s, %(task_key)s, %(winner)s, to_timestamp(%(laravel_at)s), to_timestamp(%(task_service_at)s),
        %(winner_image)s, %(loser_image)s, %(superseded)s);

-- name: drop
DROP TABLE IF EXISTS {table};

-- name: is empty
SELECT NOT EXISTS (SELECT FROM {table});

-- name: refused rows
-- Rows that this database, or the API in front of it, refused. Rows that the mapping holds back are checked again when
-- Laravel's row changes.
SELECT DISTINCT table_name, key
FROM task_migration.quarantine
WHERE held_back AND kind <> ALL (ARRAY['priority_out_of_range', 'task_held_back', 'approval_without_approver'])
LIMIT 100;

-- name: count
SELECT (SELECT count(*) FROM task_migration.conflict),
       (SELECT count(DISTINCT (table_name, key)) FROM task_migration.quarantine WHERE held_back);

-- name: conflicts by winner
SELECT winner, count(*) FROM task_migration.conflict GROUP BY winner;

-- name: dead letters
-- Rows that are held back, by kind, with the five newest of each kind.
SELECT kind, count(*), (array_agg(table_name || ' ' || key ORDER BY recorded_at DESC))[1:5]
FROM task_migration.quarantine
WHERE held_back AND kind <> ALL (%(signed_off)s::text[])
GROUP BY kind
ORDER BY kind;
