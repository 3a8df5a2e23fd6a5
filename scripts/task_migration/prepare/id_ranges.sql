-- The ids of both sides, and the move of the Task Service's sequences above Laravel's ids.

-- name: sequence of
-- The sequence of a column, whether it can be read, and the last value that the sequence and its column allow.
SELECT owned.name,
       s.seqrelid IS NOT NULL AND has_sequence_privilege(s.seqrelid, 'SELECT') AS readable,
       least(s.seqmax, CASE a.atttypid WHEN 'integer'::regtype THEN 2147483647 ELSE 9223372036854775807 END) AS last_possible
FROM pg_attribute a
CROSS JOIN LATERAL (SELECT pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) AS name) owned
LEFT JOIN pg_sequence s ON s.seqrelid = to_regclass(owned.name)
WHERE a.attrelid = to_regclass('public.' || quote_ident(%(table)s)) AND a.attname = %(column)s AND NOT a.attisdropped;

-- name: sequence state
-- highest_id counts only ids below `below`: higher ones in Laravel are the Task Service's, from the backward sync.
SELECT CASE WHEN s.is_called THEN s.last_value + 1 ELSE s.last_value END AS next_id,
       coalesce((SELECT max(t.{column}) FROM {table} t WHERE t.{column} < %(below)s), 0) AS highest_id,
       coalesce((SELECT max(t.{column}) FROM {table} t), 0) AS highest_of_all
FROM {sequence} s;

-- name: move forward
-- Compares and moves in one statement, so that an id that is assigned at the same time is not assigned again.
SELECT setval(%(sequence)s::regclass, %(next_id)s, false)
FROM {sequence} s
WHERE CASE WHEN s.is_called THEN s.last_value + 1 ELSE s.last_value END < %(next_id)s;
