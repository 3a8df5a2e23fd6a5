\set n :n + 1
\set id 4 * (11 + permute((:n * :clients + :client_id) % :keys, :keys, :seed)) + 2
INSERT INTO tasks (user_id, title, description, difficulty, created_at, updated_at)
SELECT user_id, format('bench %s %s', :stamp::text, :n::text), 'Some words about what is to be done.', 2, now(), now()
FROM tasks WHERE id = :id;
