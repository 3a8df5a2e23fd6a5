set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "group_task_id" = null, "updated_at" = '2025-03-04 12:34:56' where "id" = '117';
update "tasks" set "group_task_id" = 'bbbbbbbb-0000-4000-8000-000000000111', "reward" = '10', "updated_at" = '2025-03-04 12:34:56' where "id" = '111';
update "tasks" set "reward" = '250', "updated_at" = '2025-03-04 12:34:56' where "group_task_id" = 'aaaaaaaa-0000-4000-8000-000000000026' and "tasks"."deleted_at" is null;
