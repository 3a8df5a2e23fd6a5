-- What both directions of the sync keep, in either database. Blocks "create …" are the tables; the rest asks and fills.

-- name: exists
SELECT to_regclass('task_migration.' || quote_ident(%(table)s)) IS NOT NULL;

-- name: create lane
-- A task belongs to one lane, by its id; who carries a lane's changes, either way, holds it locked on both sides.
CREATE TABLE task_migration.lane (lane smallint PRIMARY KEY);
INSERT INTO task_migration.lane SELECT generate_series(0, 7);

-- name: create conflict
-- Both sides wrote the same row before either write was carried: who won, both images, and the log entries that gave way.
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
-- what may not cross into this database, or crosses with something left out
CREATE TABLE task_migration.quarantine (
    table_name text NOT NULL,
    key bigint NOT NULL,
    kind text NOT NULL,
    held_back boolean NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, key, kind)
);

-- name: keep conflict
-- The times come as seconds of Laravel's clock.
INSERT INTO task_migration.conflict
    (unit, key, task_key, winner, laravel_at, task_service_at, winner_image, loser_image, superseded)
VALUES (%(unit)s, %(key)s, %(task_key)s, %(winner)s, to_timestamp(%(laravel_at)s), to_timestamp(%(task_service_at)s),
        %(winner_image)s, %(loser_image)s, %(superseded)s);

-- name: drop
DROP TABLE IF EXISTS {table};

-- name: is empty
SELECT NOT EXISTS (SELECT FROM {table});

-- name: refused rows
-- What this database, or the API before it, refused; what the mapping holds back is looked at when Laravel's row changes.
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
