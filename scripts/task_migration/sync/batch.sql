-- One batch of the sync: rows of both sides by their keys. The {placeholders} come from the mappings and the catalog.

-- name: session of a worker
-- The timeout releases the lanes of a worker that was suspended in the middle of a batch; a batch of the api sink may
-- take that long. The same few statements run hundreds of times a second, for a few keys each: planning them again would
-- cost more than running them.
SELECT set_config('idle_in_transaction_session_timeout', '180s', false),
       set_config('plan_cache_mode', 'force_generic_plan', false);

-- name: begin
BEGIN;

-- name: savepoint
SAVEPOINT quick;

-- name: back to savepoint
ROLLBACK TO SAVEPOINT quick;

-- name: mapped rows
-- The rows as JSON, which keeps every value as PostgreSQL prints it, and their keys and owners.
SELECT {table_name}, coalesce(json_agg(mapped)::text, '[]'), coalesce(array_agg(mapped.{key}::bigint), '{{}}'),
       array_agg({owner})
FROM ({rows}) mapped;

-- name: quarantine
SELECT {table_name}, found.key::bigint, found.kind::text, found.held_back::boolean, found.reason::text
FROM ({quarantine}) found;

-- name: known quarantine
SELECT table_name, key, kind FROM task_migration.quarantine WHERE table_name = ANY (%(tables)s) AND key = ANY (%(keys)s);

-- name: touched rows
SELECT touched.key FROM ({touched}) touched;

-- name: lock rows
-- No other session can change them until this transaction ends; rows that refer to them can be added and deleted.
SELECT {key}::bigint, {owner} FROM {table} WHERE {key} = ANY (%(keys)s::bigint[]) ORDER BY {key} FOR NO KEY UPDATE;

-- name: staged
(SELECT staged.* FROM json_populate_recordset(NULL::{table}, %(rows)s::json) staged
 WHERE staged.{task_column} <> ALL (%(held)s::bigint[])) staged;

-- name: staged with a parent
(SELECT staged.* FROM json_populate_recordset(NULL::{table}, %(rows)s::json) staged
 WHERE staged.{task_column} <> ALL (%(held)s::bigint[])
   AND EXISTS (SELECT FROM {parent} parent WHERE parent.{parent_key} = staged.{parent_column})) staged;

-- name: children without a parent
SELECT staged.{key}::bigint, staged.{parent_column}::bigint,
       EXISTS (
           SELECT FROM task_migration.quarantine known
           WHERE known.table_name = {parent_name} AND known.key = staged.{parent_column} AND known.held_back
       ) AS is_refused
FROM json_populate_recordset(NULL::{table}, %(rows)s::json) staged
WHERE staged.{task_column} <> ALL (%(held)s::bigint[])
  AND NOT EXISTS (SELECT FROM {parent} parent WHERE parent.{parent_key} = staged.{parent_column});

-- name: delete children
DELETE FROM {child} WHERE {child_column} = ANY (%(gone)s::bigint[]);

-- name: delete rows
DELETE FROM {table} stored WHERE stored.{key} = ANY (%(gone)s::bigint[]) AND NOT ({destination_only});

-- name: remove quarantine
DELETE FROM task_migration.quarantine known
WHERE known.table_name = ANY (%(of_tables)s::text[]) AND known.key = ANY (%(keys)s::bigint[])
  AND NOT EXISTS (
      SELECT FROM unnest(%(tables)s::text[], %(found_keys)s::bigint[], %(kinds)s::text[]) AS found (table_name, key, kind)
      WHERE (found.table_name, found.key, found.kind) = (known.table_name, known.key, known.kind)
  );

-- name: store quarantine
INSERT INTO task_migration.quarantine AS known (table_name, key, kind, held_back, reason)
SELECT DISTINCT ON (found.table_name, found.key, found.kind)
       found.table_name, found.key, found.kind, found.held_back, found.reason
FROM unnest(%(tables)s::text[], %(found_keys)s::bigint[], %(kinds)s::text[], %(held_backs)s::boolean[], %(reasons)s::text[])
     AS found (table_name, key, kind, held_back, reason)
ORDER BY found.table_name, found.key, found.kind
ON CONFLICT (table_name, key, kind) DO UPDATE SET held_back = excluded.held_back, reason = excluded.reason
WHERE (known.held_back, known.reason) IS DISTINCT FROM (excluded.held_back, excluded.reason);

-- name: owners known to Laravel
SELECT cognito_sub FROM cognito_user_mapping WHERE cognito_sub = ANY (%(owners)s::text[]);

-- name: held back by the backward sync
SELECT key, extract(epoch FROM recorded_at)::float8
FROM task_migration.quarantine
WHERE table_name = %(row_group)s AND key = ANY (%(keys)s::bigint[]) AND held_back;

-- name: existing in Laravel
SELECT {key}::bigint FROM {table} WHERE {key} = ANY (%(keys)s::bigint[]);

-- name: image of rows
SELECT {table_name}, image.{key}::bigint, to_jsonb(image) FROM ({rows}) image;

-- name: whole rows
SELECT * FROM {table} known WHERE known.{key} = ANY (%(keys)s::bigint[])

-- name: stored rows
SELECT coalesce(json_agg(stored)::text, '[]') FROM ({rows}) stored;

-- name: existing tasks
SELECT id FROM tasks WHERE id = ANY (%(keys)s::bigint[]);

-- name: columns of rows
SELECT * FROM ({rows}) nothing LIMIT 0;

-- name: upsert placed
-- The key is not updated, because an identity column may be GENERATED ALWAYS. is_new: the query in RETURNING sees the
-- table as it was before this statement; xmax would not do, because a partitioned table has none.
WITH placed AS ({placed})
INSERT INTO {table} AS known ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM placed
ON CONFLICT ({key}) DO UPDATE SET ({updated}) = ROW ({excluded})
WHERE ({known}) IS DISTINCT FROM ({excluded})
RETURNING NOT EXISTS (SELECT FROM {table} before WHERE before.{key} = known.{key}) AS is_new;

-- name: maps to another row
SELECT coalesce(mapped.{key}, stored.{key})
FROM ({rows}) mapped
FULL JOIN json_to_recordset(%(rows)s::json) AS stored ({types}) ON stored.{key} = mapped.{key}
WHERE mapped.{key} IS NULL OR stored.{key} IS NULL OR ({mapped}) IS DISTINCT FROM ({stored});
