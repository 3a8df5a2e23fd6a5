-- For the plan's own comparisons.

-- name: newest rows
-- by their keys, which sequences give
SELECT key FROM ({candidates}) candidates ORDER BY key DESC LIMIT %(rows)s;
