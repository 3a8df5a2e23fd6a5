set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "deleted_at" = '2025-03-04 12:34:56', "updated_at" = '2025-03-04 12:34:56' where "id" = '47';
update "tasks" set "deleted_at" = '2025-03-04 12:34:56', "updated_at" = '2025-03-04 12:34:56' where "id" = '50';
update "tasks" set "deleted_at" = '2025-03-04 12:34:56', "updated_at" = '2025-03-04 12:34:56' where "id" = '53';
