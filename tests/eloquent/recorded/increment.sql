set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "priority" = "priority" + 1, "updated_at" = '2025-03-04 12:34:56' where "id" = '83' and "tasks"."deleted_at" is null;
update "tasks" set "priority" = "priority" + 1, "title" = 'priority 6 is no priority', "updated_at" = '2025-03-04 12:34:56' where "id" = '84' and "tasks"."deleted_at" is null;
update "tasks" set "reward" = "reward" + 50, "updated_at" = '2025-03-04 12:34:56' where "id" = '87' and "tasks"."deleted_at" is null;
update "tasks" set "priority" = "priority" - 1 where "id" = '88';
update "tasks" set "priority" = "priority" + 3, "updated_at" = '2025-03-04 12:34:56' where "id" = '12' and "tasks"."deleted_at" is null;
