-- For the plan's own comparisons.

-- name: newest tasks
SELECT id FROM tasks WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT %(rows)s;
