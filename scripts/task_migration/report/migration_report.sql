-- Verdicts and checks for the migration report: times, counts and keys, never the content of a row.

-- name: tables exist
SELECT pg_catalog.to_regclass('task_migration.verdict') IS NOT NULL AS verdict,
       pg_catalog.to_regclass('task_migration.consistency') IS NOT NULL AS consistency;

-- name: verdicts
-- The newest verdicts, in the order of their time; of each, at most twenty of the rows that differed.
SELECT at, passed, differences, reasons, named
FROM (
    SELECT id, at, passed,
           (SELECT coalesce(sum((counts.value ->> 'missing')::bigint + (counts.value ->> 'extra')::bigint
                                + (counts.value ->> 'different')::bigint), 0)::bigint
            FROM jsonb_each(summary -> 'tables') AS counts) AS differences,
           coalesce(summary -> 'reasons', '[]') AS reasons,
           jsonb_path_query_array(summary, '$.differences[0 to 19]') AS named
    FROM task_migration.verdict
    ORDER BY id DESC
    LIMIT %(most)s
) newest
ORDER BY id;

-- name: checks
SELECT count(*) AS checks,
       count(*) FILTER (WHERE passed) AS passed,
       count(*) FILTER (WHERE NOT passed) AS failed,
       count(*) FILTER (WHERE passed IS NULL) AS could_not_look,
       min(at) AS first, max(at) AS last,
       coalesce((array_agg(passed ORDER BY id DESC))[1], false) AS last_passed
FROM task_migration.consistency;

-- name: checks that did not pass
SELECT at, passed, differences, keys, coalesce(details -> 'reasons', '[]') AS reasons
FROM task_migration.consistency
WHERE passed IS NOT TRUE
ORDER BY id DESC
LIMIT %(most)s;
