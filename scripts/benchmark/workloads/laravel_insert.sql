\set n :n + 1
INSERT INTO tasks (user_id, title, description, priority, created_at, updated_at)
VALUES (1 + :n % 7, format('bench %s %s', :stamp::text, :n::text), 'Some words about what is to be done.', 2, now(), now());
