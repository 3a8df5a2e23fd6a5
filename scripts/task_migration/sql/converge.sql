-- What converge asks and does on the destination. {table} and the other names come from the mapping and the catalog.

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

-- name: take children without a parent off the stage
-- is_refused: the parent is in quarantine because this database refused it
DELETE FROM {stage} staged
WHERE NOT EXISTS (SELECT FROM {parent} parent WHERE parent.{parent_key} = staged.{parent_column})
RETURNING staged.{key},
          EXISTS (
              SELECT FROM task_migration.quarantine known
              WHERE known.table_name = {parent_name} AND known.key = staged.{parent_column} AND known.held_back
          ) AS is_refused;

-- name: upsert
INSERT INTO {table} AS known ({columns})
SELECT {columns} FROM {stage}
ON CONFLICT ({key}) DO UPDATE SET ({columns}) = ROW ({excluded})
WHERE ({known}) IS DISTINCT FROM ({excluded})
RETURNING (xmax = 0) AS is_new;

-- name: delete children of what no longer maps
DELETE FROM {child}
WHERE {child_column} IN (
    SELECT known.{key} FROM {table} known
    WHERE {selected} AND NOT EXISTS (SELECT FROM {stage} staged WHERE staged.{key} = known.{key})
);

-- name: delete what no longer maps
DELETE FROM {table} known
WHERE {selected} AND NOT EXISTS (SELECT FROM {stage} staged WHERE staged.{key} = known.{key});

-- name: forget quarantine
DELETE FROM task_migration.quarantine known
WHERE known.table_name = {table_name} AND {selected}
  AND NOT EXISTS (
      SELECT FROM unnest({keys}::bigint[], {kinds}::text[]) AS found (key, kind)
      WHERE found.key = known.key AND found.kind = known.kind
  );

-- name: keep quarantine
INSERT INTO task_migration.quarantine AS known (table_name, key, kind, held_back, reason)
SELECT {table_name}, found.key, found.kind, found.held_back, found.reason
FROM unnest({keys}::bigint[], {kinds}::text[], {held_back}::boolean[], {reasons}::text[])
    AS found (key, kind, held_back, reason)
ON CONFLICT (table_name, key, kind) DO UPDATE SET held_back = excluded.held_back, reason = excluded.reason
WHERE (known.held_back, known.reason) IS DISTINCT FROM (excluded.held_back, excluded.reason);
