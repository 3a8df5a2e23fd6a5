-- One operator at a time, and what is still at work: two advisory locks of Laravel's database.
-- (1952541044, 1) is the operator's, held alone for as long as a playbook runs.
-- (1952541044, 2) is shared by every session that moves data; it is free when none is left.

-- name: take the operator's
SELECT pg_try_advisory_lock(1952541044, 1);

-- name: is any engine at work
-- Takes the engines' lock alone for a moment: that works only when no engine shares it.
SELECT NOT (pg_try_advisory_lock(1952541044, 2) AND pg_advisory_unlock(1952541044, 2));

-- name: share the engines'
SELECT pg_advisory_lock_shared(1952541044, 2);

-- name: holders
-- Who holds a lock: by what name the session goes, since when, from where, and its process on the server.
SELECT activity.application_name,
       activity.backend_start,
       host(activity.client_addr) AS address,
       activity.pid
  FROM pg_locks AS lock
  JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
 WHERE lock.locktype = 'advisory'
   AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND lock.classid = 1952541044
   AND lock.objid = %(which)s::bigint::oid
   AND lock.objsubid = 2
   AND lock.granted
   AND lock.pid <> pg_backend_pid()
 ORDER BY activity.backend_start;

-- name: never end this session for being idle
SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'statement_timeout');

-- name: still there
SELECT 1;
