-- For the comparisons that the plan asks for.

-- name: newest rows
-- The newest by key, because sequences assign the keys.
SELECT key FROM ({candidates}) candidates ORDER BY key DESC LIMIT %(rows)s;
