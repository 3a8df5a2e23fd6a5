-- What the migration needs in the Task Service's database in addition to the Task Service's own tables, and the catalog
-- queries that show what exists already.

-- name: recorded table exists
SELECT to_regclass('public."SequelizeMeta"') IS NOT NULL;

-- name: recorded migrations
SELECT name FROM public."SequelizeMeta" ORDER BY name;

-- name: create recorded table
-- as Sequelize creates it
CREATE TABLE IF NOT EXISTS public."SequelizeMeta" ("name" VARCHAR(255) NOT NULL UNIQUE, PRIMARY KEY ("name"));

-- name: record migration
INSERT INTO public."SequelizeMeta" (name) VALUES (%(name)s);

-- name: count rows
SELECT count(*) FROM {table};

-- name: unique on column
-- Only a unique index on this one column without a condition makes the column a key.
SELECT EXISTS (
    SELECT FROM pg_index x
    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
    WHERE x.indrelid = to_regclass('public.' || quote_ident(%(table)s)) AND a.attname = %(column)s
      AND x.indisunique AND x.indisvalid AND x.indnkeyatts = 1 AND x.indpred IS NULL
);

-- name: indexed on column
SELECT EXISTS (
    SELECT FROM pg_index x
    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
    WHERE x.indrelid = to_regclass('public.' || quote_ident(%(table)s)) AND a.attname = %(column)s
      AND x.indisvalid AND x.indpred IS NULL
);

-- name: duplicate keys
SELECT {column} FROM {table} GROUP BY {column} HAVING count(*) > 1 ORDER BY {column};

-- name: integer sequence
-- the sequence of a column, if its type is INTEGER
SELECT s.seqrelid::regclass::text
FROM pg_sequence s
WHERE s.seqrelid = to_regclass(pg_get_serial_sequence('public.' || quote_ident(%(table)s), %(column)s))
  AND s.seqtypid = 'integer'::regtype;

-- name: ours exists
SELECT to_regclass('task_migration.' || quote_ident(%(table)s)) IS NOT NULL;

-- name: limit lock waiting
SET LOCAL lock_timeout = '5s';

-- name: widen title
-- Only raises the limit, so PostgreSQL changes the catalog and reads no row.
ALTER TABLE public.tasks ALTER COLUMN title TYPE VARCHAR(255);

-- name: widen id
ALTER TABLE {table} ALTER COLUMN {column} TYPE bigint;

-- name: widen sequence
ALTER SEQUENCE {sequence} AS bigint;

-- name: create unique index
CREATE UNIQUE INDEX {index} ON {table} ({column});

-- name: create index
CREATE INDEX {index} ON {table} ({column});

-- name: create schema
CREATE SCHEMA IF NOT EXISTS task_migration;

-- name: create copy_chunk
-- The ledger of the copy. low and high are included in the range; rows_planned is the number of rows of its base table when
-- it was planned; seconds is the duration of its transaction.
CREATE TABLE task_migration.copy_chunk (
    table_name text NOT NULL,
    low bigint NOT NULL,
    high bigint NOT NULL,
    rows_planned bigint NOT NULL,
    state text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'copied')),
    rows_copied bigint,
    seconds double precision,
    copied_at timestamptz,
    PRIMARY KEY (table_name, low)
);

-- name: create deferred_ddl
-- indexes and constraints that were dropped for the load and must be created again
CREATE TABLE task_migration.deferred_ddl (
    ordinal integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    table_name text NOT NULL,
    name text NOT NULL,
    definition text NOT NULL
);

-- name: columns that do not fit
-- Compares the columns that the mappings write with the tables as they are. `longest` is the text length that must fit
-- (a type without a limit always fits), `labels` are the values that an enum must have.
WITH said (table_name, column_name, types, longest, labels) AS (
    VALUES
        ('tasks', 'id', 'integer, bigint', 0, ''),
        ('tasks', 'user_id', 'character varying, text', 255, ''),
        ('tasks', 'title', 'character varying, text', 100, ''),
        ('tasks', 'description', 'text', 0, ''),
        ('tasks', 'difficulty', 'smallint, integer, bigint', 0, ''),
        ('tasks', 'status', 'enum, character varying, text', 11, 'pending, completed, approved'),
        ('tasks', 'completed_at', 'timestamp with time zone', 0, ''),
        ('tasks', 'approved_at', 'timestamp with time zone', 0, ''),
        ('tasks', 'approved_by', 'character varying, text', 255, ''),
        ('tasks', 'tags', 'jsonb', 0, ''),
        ('tasks', 'created_at', 'timestamp with time zone', 0, ''),
        ('tasks', 'updated_at', 'timestamp with time zone', 0, ''),
        ('task_images', 'id', 'integer, bigint', 0, ''),
        ('task_images', 'task_id', 'integer, bigint', 0, ''),
        ('task_images', 's3_key', 'character varying, text', 255, ''),
        ('task_images', 's3_url', 'character varying, text', 1000, ''),
        ('task_images', 'uploaded_by', 'character varying, text', 255, ''),
        ('task_images', 'created_at', 'timestamp with time zone', 0, ''),
        ('task_images', 'updated_at', 'timestamp with time zone', 0, ''),
        ('task_approvals', 'id', 'integer, bigint', 0, ''),
        ('task_approvals', 'task_id', 'integer, bigint', 0, ''),
        ('task_approvals', 'approver_id', 'character varying, text', 255, ''),
        ('task_approvals', 'status', 'enum, character varying, text', 11, 'pending, approved'),
        ('task_approvals', 'approved_at', 'timestamp with time zone', 0, ''),
        ('task_approvals', 'created_at', 'timestamp with time zone', 0, ''),
        ('task_approvals', 'updated_at', 'timestamp with time zone', 0, ''),
        ('group_tasks', 'id', 'integer, bigint', 0, ''),
        ('group_tasks', 'group_id', 'uuid', 0, ''),
        ('group_tasks', 'task_id', 'integer, bigint', 0, ''),
        ('group_tasks', 'reward', 'integer, bigint', 0, ''),
        ('group_tasks', 'requires_approval', 'boolean', 0, ''),
        ('group_tasks', 'requires_image', 'boolean', 0, ''),
        ('group_tasks', 'created_at', 'timestamp with time zone', 0, ''),
        ('group_tasks', 'updated_at', 'timestamp with time zone', 0, '')
),
needed AS (
    SELECT table_name, column_name, longest,
           string_to_array(types, ', ') AS types, string_to_array(labels, ', ') AS labels
    FROM said
),
there AS (
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS written,
           CASE WHEN t.typtype = 'e' THEN 'enum' ELSE format_type(a.atttypid, NULL) END AS type,
           CASE WHEN t.typname = 'varchar' AND a.atttypmod > 0 THEN a.atttypmod - 4 END AS longest,
           CASE WHEN t.typtype = 'e' THEN ARRAY (SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid) END AS labels
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
)
SELECT needed.table_name || '.' || needed.column_name || ' ' ||
       CASE
           WHEN there.attname IS NULL THEN 'does not exist'
           WHEN there.type <> ALL (needed.types) THEN 'is ' || there.written || ', not ' || array_to_string(needed.types, ' or ')
           WHEN there.longest < needed.longest THEN 'is ' || there.written || ', shorter than ' || needed.longest
           ELSE 'has not all values of ' || array_to_string(needed.labels, ', ')
       END
FROM needed
LEFT JOIN there ON there.relname = needed.table_name AND there.attname = needed.column_name
WHERE needed.table_name = ANY (%(tables)s)
  AND (there.attname IS NULL
       OR there.type <> ALL (needed.types)
       OR coalesce(there.longest < needed.longest, false)
       OR coalesce(NOT there.labels @> needed.labels, false));
