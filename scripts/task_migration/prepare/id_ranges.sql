-- Where the ids of both sides stand, and how the Task Service's are moved out of Laravel's way.

-- name: sequence of
-- The next id, the last one that the sequence or its column can hold, and the highest id in the table. A sequence that
-- was never asked has no last value in the catalog; its next id is then its start.
SELECT owned.name,
       s.seqrelid IS NOT NULL AND has_sequence_privilege(s.seqrelid, 'SELECT') AS readable,
       least(s.seqmax, CASE a.atttypid WHEN 'integer'::regtype THEN 2147483647 ELSE 9223372036854775807 END) AS last_possible
FROM pg_attribute a
CROSS JOIN LATERAL (SELECT pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) AS name) owned
LEFT JOIN pg_sequence s ON s.seqrelid = to_regclass(owned.name)
WHERE a.attrelid = to_regclass('public.' || quote_ident(%(table)s)) AND a.attname = %(column)s AND NOT a.attisdropped;

-- name: where it stands
-- The highest id counts below `below` alone: what lies above it in Laravel was the Task Service's, and carried back.
SELECT CASE WHEN s.is_called THEN s.last_value + 1 ELSE s.last_value END AS next_id,
       coalesce((SELECT max(t.{column}) FROM {table} t WHERE t.{column} < %(below)s), 0) AS highest_id,
       coalesce((SELECT max(t.{column}) FROM {table} t), 0) AS highest_of_all
FROM {sequence} s;

-- name: move forward
-- Looks and moves in one statement: an id that was handed out meanwhile is not handed out again.
SELECT setval(%(sequence)s::regclass, %(next_id)s, false)
FROM {sequence} s
WHERE CASE WHEN s.is_called THEN s.last_value + 1 ELSE s.last_value END < %(next_id)s;
