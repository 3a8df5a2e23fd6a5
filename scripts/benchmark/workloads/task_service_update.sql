\set n :n + 1
\set id 4 * (11 + permute((:n * :clients + :client_id) % :keys, :keys, :seed)) + 2
UPDATE tasks SET title = format('bench %s %s', :stamp::text, :n::text), updated_at = now() WHERE id = :id;
