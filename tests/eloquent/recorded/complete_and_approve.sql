set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "is_completed" = '1', "completed_at" = '2025-03-04 12:34:56', "updated_at" = '2025-03-04 12:34:56' where "id" = '26';
update "tasks" set "approved_by_user_id" = '1', "approved_at" = '2025-03-04 12:35:56', "updated_at" = '2025-03-04 12:35:56' where "id" = '26';
update "tasks" set "is_completed" = '0', "completed_at" = null, "updated_at" = '2025-03-04 12:35:56' where "id" = '20';
