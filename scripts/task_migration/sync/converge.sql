-- The statements of converge. {table} and the other names come from the mapping and the catalog.

-- name: columns of table
SELECT a.attname,
       format_type(a.atttypid, NULL) AS type,
       t.typtype = 'e' AS is_enum,
       t.typcategory = 'S' AS is_text,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '' AS must_be_given
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum;

-- name: copy rows out
COPY (SELECT {columns} FROM ({rows}) mapped) TO STDOUT (FORMAT binary);

-- name: copy rows in
COPY {table} ({columns}) FROM STDIN (FORMAT binary);

-- name: holds rows
SELECT EXISTS (SELECT FROM {table} WHERE {selected});

-- name: create stage
CREATE TEMPORARY TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS AS
SELECT {columns} FROM {table} WITH NO DATA;

-- name: empty stage
DELETE FROM {stage};

-- name: lock rows
SELECT FROM {table} WHERE {selected} ORDER BY {key} FOR UPDATE;

-- name: remove children without a parent from the stage
-- is_refused: the parent is in quarantine because this database refused it.
DELETE FROM {stage} staged
WHERE NOT EXISTS (SELECT FROM {parent} parent WHERE parent.{parent_key} = staged.{parent_column})
RETURNING staged.{key},
          EXISTS (
              SELECT FROM task_migration.quarantine known
              WHERE known.table_name = {parent_name} AND known.key = staged.{parent_column} AND known.held_back
          ) AS is_refused;

-- name: upsert
-- As "upsert placed" in batch.sql: the key is not updated, and is_new does not need xmax.
INSERT INTO {table} AS known ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM {stage}
ON CONFLICT ({key}) DO UPDATE SET ({updated}) = ROW ({merged})
WHERE ({known}) IS DISTINCT FROM ({merged})
RETURNING NOT EXISTS (SELECT FROM {table} before WHERE before.{key} = known.{key}) AS is_new;

-- name: delete children of what no longer maps
DELETE FROM {child}
WHERE {child_column} IN (
    SELECT known.{key} FROM {table} known
    WHERE {selected} AND NOT EXISTS (SELECT FROM {stage} staged WHERE staged.{key} = known.{key})
);

-- name: delete what no longer maps
DELETE FROM {table} stored
WHERE {selected} AND NOT ({destination_only})
  AND NOT EXISTS (SELECT FROM {stage} staged WHERE staged.{key} = stored.{key});

-- name: check deferred constraints
SET CONSTRAINTS ALL IMMEDIATE;

-- name: create quarantine stage
CREATE TEMPORARY TABLE IF NOT EXISTS task_migration_stage_quarantine (
    key bigint, kind text, held_back boolean, reason text
) ON COMMIT DELETE ROWS;

-- name: empty quarantine stage
DELETE FROM task_migration_stage_quarantine;

-- name: copy quarantine out
COPY (
    SELECT found.key::bigint, found.kind::text, found.held_back::boolean, found.reason::text FROM ({quarantine}) found
) TO STDOUT (FORMAT binary);

-- name: copy quarantine in
COPY task_migration_stage_quarantine (key, kind, held_back, reason) FROM STDIN (FORMAT binary);

-- name: stage refused
INSERT INTO task_migration_stage_quarantine (key, kind, held_back, reason)
SELECT unnest(%(keys)s::bigint[]), %(kind)s, true, %(reason)s;

-- name: remove quarantine
DELETE FROM task_migration.quarantine known
WHERE known.table_name = {table_name} AND {selected} AND known.kind <> ALL ({spared}::text[])
  AND NOT EXISTS (
      SELECT FROM task_migration_stage_quarantine found WHERE found.key = known.key AND found.kind = known.kind
  );

-- name: store quarantine
INSERT INTO task_migration.quarantine AS known (table_name, key, kind, held_back, reason)
SELECT DISTINCT ON (found.key, found.kind) {table_name}, found.key, found.kind, found.held_back, found.reason
FROM task_migration_stage_quarantine found
ORDER BY found.key, found.kind
ON CONFLICT (table_name, key, kind) DO UPDATE SET held_back = excluded.held_back, reason = excluded.reason
WHERE (known.held_back, known.reason) IS DISTINCT FROM (excluded.held_back, excluded.reason);

-- name: staged rows held back
SELECT count(DISTINCT key) FROM task_migration_stage_quarantine WHERE held_back;
