set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "deleted_at" = null, "updated_at" = '2025-03-04 12:34:56' where "id" = '14';
update "tasks" set "deleted_at" = null, "updated_at" = '2025-03-04 12:34:56' where "id" = '15';
