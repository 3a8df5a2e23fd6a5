-- For the sync report. Rows are compared and hashed here: no content of a row leaves the database.

-- name: conflicts
SELECT kept.at, kept.unit, kept.key, kept.winner, kept.laravel_at, kept.task_service_at,
       md5(kept.winner_image::text), md5(kept.loser_image::text),
       ARRAY (
           SELECT whole.name || '.' || field.name
           FROM jsonb_each(coalesce(kept.winner_image, kept.loser_image)) AS whole (name, row_of_table)
           CROSS JOIN LATERAL jsonb_each(whole.row_of_table) AS field (name, value)
           WHERE (kept.winner_image -> whole.name -> field.name)
                 IS DISTINCT FROM (kept.loser_image -> whole.name -> field.name)
             -- columns that only one side has are only in its image
             AND coalesce(kept.winner_image -> whole.name ? field.name, true)
             AND coalesce(kept.loser_image -> whole.name ? field.name, true)
           ORDER BY 1
       )
FROM task_migration.conflict kept
ORDER BY kept.id DESC
LIMIT %(most)s;
