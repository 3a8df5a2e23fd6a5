-- name: candidates
SELECT count(*) FROM ({candidates}) candidates;

-- name: stored
SELECT count(*) FROM {table};

-- name: held back
SELECT count(DISTINCT key) FROM task_migration.quarantine WHERE table_name = %(table_name)s AND held_back;

-- name: quarantine by kind
SELECT kind, held_back, count(*), (array_agg(DISTINCT table_name || ' ' || key))[1:5]
FROM task_migration.quarantine
GROUP BY kind, held_back
ORDER BY kind;
