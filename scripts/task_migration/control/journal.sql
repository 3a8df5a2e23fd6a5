-- The journal, and the verdicts that later gates use. Both are append-only.

-- name: now
SELECT pg_catalog.clock_timestamp();

-- name: there
SELECT pg_catalog.to_regclass('task_migration.journal_end') IS NOT NULL AS journal_end,
       pg_catalog.to_regclass('task_migration.journal') IS NOT NULL AS journal,
       pg_catalog.to_regclass('task_migration.verdict') IS NOT NULL AS verdict,
       2 = (
           SELECT count(*) FROM pg_catalog.pg_trigger t
           WHERE t.tgrelid = pg_catalog.to_regclass('task_migration.journal')
             AND t.tgname IN ('only_grows', 'chained') AND t.tgenabled = 'A'
       ) AS is_guarded,
       NOT EXISTS (
           SELECT FROM pg_catalog.pg_class c
           WHERE c.oid = pg_catalog.to_regclass('task_migration.journal')
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'hash')
       ) AS is_ours;

-- name: create schema
CREATE SCHEMA IF NOT EXISTS task_migration;
CREATE OR REPLACE FUNCTION task_migration.refuse_rewriting() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $refuse$
BEGIN
    RAISE EXCEPTION '%.% only ever grows: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP;
END
$refuse$;

-- name: hash
-- The hash of an entry: of all its columns, including the hash of the entry before. The text does not depend on the
-- session's time zone or settings. A JSON array marks unambiguously where each column ends.
pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.jsonb_build_array(
    pg_catalog.encode({entry}.previous, 'hex'), {entry}.id,
    pg_catalog.to_char({entry}.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
    {entry}.operator, {entry}.host, {entry}.command, {entry}.phase, {entry}.item, {entry}.result, {entry}.evidence
)::text, 'UTF8'))

-- name: create journal_end
-- The last entry, so that entries removed at the end are detected. Its one row also makes writers wait for each other.
-- The hash "before" the first entry is random, and so identifies this journal.
CREATE TABLE task_migration.journal_end (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    id      bigint NOT NULL,
    hash    bytea NOT NULL
);
INSERT INTO task_migration.journal_end (id, hash) VALUES (0, uuid_send(gen_random_uuid()));

-- name: create journal
CREATE TABLE task_migration.journal (
    id       bigint PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    operator text NOT NULL,
    host     text NOT NULL,
    command  text NOT NULL,
    phase    text NOT NULL,
    item     text NOT NULL,
    result   text NOT NULL CHECK (result IN ('started', 'done', 'failed', 'refused')),
    evidence jsonb NOT NULL CHECK (jsonb_typeof(evidence) = 'object'),
    previous bytea NOT NULL,
    hash     bytea NOT NULL
);

-- name: guard journal
CREATE OR REPLACE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON task_migration.journal
    FOR EACH STATEMENT EXECUTE FUNCTION task_migration.refuse_rewriting();
-- ALWAYS: also in a session with session_replication_role = replica.
ALTER TABLE task_migration.journal ENABLE ALWAYS TRIGGER only_grows;
-- The id does not come from a sequence: a sequence skips numbers after a crash, and a missing number must mean a lost entry.
-- SECURITY DEFINER: a role that may insert entries needs no right to update journal_end.
-- If the journal and journal_end differ, neither is corrected: the entry is written after the higher id, and the break
-- remains visible.
CREATE OR REPLACE FUNCTION task_migration.chain_entry() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $chain$
DECLARE
    last record;
BEGIN
    PERFORM FROM task_migration.journal_end FOR UPDATE;
    SELECT id, hash INTO last
    FROM (
        SELECT id, hash, 1 AS place FROM task_migration.journal_end
        UNION ALL
        (SELECT id, hash, 2 FROM task_migration.journal ORDER BY id DESC LIMIT 1)
    ) AS ends
    ORDER BY id DESC, place
    LIMIT 1;
    NEW.id := coalesce(last.id, 0) + 1;
    NEW.previous := coalesce(last.hash, uuid_send(gen_random_uuid()));
    NEW.hash := {hash};
    INSERT INTO task_migration.journal_end (id, hash) VALUES (NEW.id, NEW.hash)
    ON CONFLICT (is_only) DO UPDATE SET id = excluded.id, hash = excluded.hash;
    RETURN NEW;
END
$chain$;
CREATE OR REPLACE TRIGGER chained BEFORE INSERT ON task_migration.journal
    FOR EACH ROW EXECUTE FUNCTION task_migration.chain_entry();
ALTER TABLE task_migration.journal ENABLE ALWAYS TRIGGER chained;

-- name: create verdict
CREATE TABLE task_migration.verdict (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                 timestamptz NOT NULL DEFAULT clock_timestamp(),
    passed             boolean NOT NULL,
    schema_fingerprint text NOT NULL,
    summary            jsonb NOT NULL CHECK (jsonb_typeof(summary) = 'object')
);
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON task_migration.verdict
    FOR EACH STATEMENT EXECUTE FUNCTION task_migration.refuse_rewriting();
ALTER TABLE task_migration.verdict ENABLE ALWAYS TRIGGER only_grows;

-- name: append
INSERT INTO task_migration.journal AS entry (operator, host, command, phase, item, result, evidence)
VALUES (%(operator)s, %(host)s, %(command)s, %(phase)s, %(item)s, %(result)s, %(evidence)s)
RETURNING
    encode(
        CASE id WHEN 1 THEN previous ELSE (SELECT first.previous FROM task_migration.journal first WHERE first.id = 1) END,
        'hex'
    ) AS journal,
    id,
    encode(hash, 'hex') AS hash;

-- name: entries
SELECT id, at, operator, host, command, phase, item, result, evidence,
       encode(previous, 'hex') AS previous, encode(hash, 'hex') AS hash
FROM task_migration.journal
WHERE %(phase)s::text IS NULL OR phase = %(phase)s
ORDER BY id;

-- name: broken
-- The first break of the chain. The hash is computed here, and not by a function in the database, because a user who
-- alters entries could alter that function too.
WITH linked AS (
    SELECT entry.id, entry.previous, entry.hash, {hash} AS own,
           lag(entry.id, 1, 0::bigint) OVER written AS id_before,
           lag(entry.hash) OVER written AS hash_before
    FROM task_migration.journal AS entry
    WINDOW written AS (ORDER BY entry.id)
), last AS (
    SELECT coalesce(max(id), 0) AS id FROM linked
), known AS (
    SELECT mark.id, mark.hash
    FROM unnest(%(journals)s::text[], %(ids)s::bigint[], %(hashes)s::text[]) AS mark (journal, id, hash)
    JOIN linked AS first ON first.id = 1 AND encode(first.previous, 'hex') = mark.journal
)
SELECT id, kind
FROM (
    SELECT id_before + 1 AS id, 'gone' AS kind FROM linked WHERE id <> id_before + 1
    UNION ALL
    SELECT id, 'altered' FROM linked WHERE hash <> own
    UNION ALL
    SELECT id, 'unlinked' FROM linked WHERE id = id_before + 1 AND previous <> hash_before
    UNION ALL
    SELECT last.id + 1, 'gone' FROM last, task_migration.journal_end AS e WHERE e.id > last.id
    UNION ALL
    SELECT e.id + 1, 'beyond' FROM last, task_migration.journal_end AS e WHERE e.id < last.id
    UNION ALL
    SELECT e.id, 'rewritten' FROM linked JOIN task_migration.journal_end AS e USING (id) WHERE e.hash <> linked.hash
    UNION ALL
    SELECT last.id, 'no end' FROM last WHERE last.id > 0 AND NOT EXISTS (SELECT FROM task_migration.journal_end)
    UNION ALL
    SELECT last.id + 1, 'gone' FROM last, known WHERE known.id > last.id
    UNION ALL
    SELECT known.id, 'rewritten'
    FROM known JOIN linked USING (id)
    WHERE known.hash <> encode(linked.hash, 'hex')
) AS breaks
ORDER BY id, kind
LIMIT 1;

-- name: keep verdict
INSERT INTO task_migration.verdict (passed, schema_fingerprint, summary)
VALUES (%(passed)s, %(schema_fingerprint)s, %(summary)s)
RETURNING id, at, passed, schema_fingerprint, summary;

-- name: latest verdict
SELECT id, at, passed, schema_fingerprint, summary
FROM task_migration.verdict
ORDER BY id DESC
LIMIT 1;
