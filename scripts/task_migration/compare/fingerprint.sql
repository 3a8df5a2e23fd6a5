-- Hashes of rows, computed inside each database. {rows} selects the same columns in the same types on both sides.
-- The key is the seed of the hash: with a constant seed, two rows that exchange values can leave the sum unchanged.

-- name: has record hash
SELECT to_regprocedure('hash_record_extended(record, bigint)') IS NOT NULL;

-- name: probe of record hash
-- Both servers must return the same hash for each type that the mapped rows have.
SELECT hash_record_extended(probe, probe.a)::text
FROM (
    SELECT 7::bigint AS a, 7::integer AS b, 'é😀'::varchar(255) AS c, 'text'::text AS d, NULL::text AS e,
           true AS f, '["b", "a"]'::jsonb AS g, '2025-03-30 02:30:00.123456+00'::timestamptz AS h,
           'd9b7ef26-7d58-4c0b-a1c5-3c2a4f5b6c7d'::uuid AS i
) probe;

-- name: of ranges, record
SELECT (hashed.{key} - {low}) / {width} AS bucket, count(*), sum(hash_record_extended(hashed, hashed.{key}))
FROM ({rows}) hashed
GROUP BY bucket;

-- name: of ranges, text
SELECT (hashed.{key} - {low}) / {width} AS bucket, count(*), sum(hashtextextended(hashed::text, hashed.{key}))
FROM ({rows}) hashed
GROUP BY bucket;

-- name: of rows, record
SELECT hashed.{key}, hash_record_extended(hashed, hashed.{key}) FROM ({rows}) hashed;

-- name: of rows, text
SELECT hashed.{key}, hashtextextended(hashed::text, hashed.{key}) FROM ({rows}) hashed;

-- name: of columns
SELECT hashed.{key}, ARRAY[{hashes}] FROM ({rows}) hashed;

-- name: of a column
hashtextextended(hashed.{column}::text, 0)

-- name: next key
SELECT min({column}) FROM {table} WHERE {column} > %(after)s::bigint;

-- name: refused keys
SELECT key FROM task_migration.quarantine
WHERE table_name = %(table_name)s AND held_back AND kind = ANY (%(kinds)s);
