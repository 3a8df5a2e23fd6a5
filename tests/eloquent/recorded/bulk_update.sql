set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "priority" = '5', "updated_at" = '2025-03-04 12:34:56' where "user_id" = '3' and "is_completed" = '0' and "tasks"."deleted_at" is null;
update "tasks" set "title" = upper(title) || ' !' where "user_id" = '4';
