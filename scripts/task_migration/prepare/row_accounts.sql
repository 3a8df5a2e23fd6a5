-- name: candidates
SELECT count(*) FROM ({candidates}) candidates;

-- name: stored
SELECT count(*) FROM {table} stored WHERE NOT ({destination_only});

-- name: held back
-- without rows that are stored in an older version
SELECT count(DISTINCT known.key)
FROM task_migration.quarantine known
WHERE known.table_name = %(table_name)s AND known.held_back
  AND NOT EXISTS (SELECT FROM {table} stored WHERE stored.{key} = known.key);

-- name: quarantine by kind
SELECT kind, held_back, count(*), (array_agg(DISTINCT table_name || ' ' || key))[1:5]
FROM task_migration.quarantine
GROUP BY kind, held_back
ORDER BY kind;
