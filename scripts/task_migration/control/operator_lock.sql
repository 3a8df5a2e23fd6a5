-- Two advisory locks in Laravel's database: one operator at a time, and steps that are still running.
-- (1952541044, 1) is the operator's lock, held exclusively while a playbook runs.
-- (1952541044, 2) is shared by every step that moves data; it is free when no such step is running.

-- name: take the operator's
SELECT pg_try_advisory_lock(1952541044, 1);

-- name: is any engine running
-- Takes the engines' lock exclusively for a moment, which is possible only if no step shares it.
SELECT NOT (pg_try_advisory_lock(1952541044, 2) AND pg_advisory_unlock(1952541044, 2));

-- name: share the engines'
SELECT pg_advisory_lock_shared(1952541044, 2);

-- name: holders
-- The sessions that hold a lock: name, start, client address, and process id on the server.
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

-- name: keep alive
SELECT 1;
