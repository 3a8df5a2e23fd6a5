\set id 1 + 100 * random(1, :keys / 100)
UPDATE tasks SET title = format('bench %s', :stamp::text), updated_at = now() WHERE id BETWEEN :id AND :id + 99;
