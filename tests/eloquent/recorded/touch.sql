set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "updated_at" = '2025-03-04 12:34:56' where "id" = '36';
update "task_images" set "updated_at" = '2025-03-04 12:34:56' where "id" = '13';
update "tasks" set "updated_at" = '2025-03-04 12:34:56' where "tasks"."id" = '21';
