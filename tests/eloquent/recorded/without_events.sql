set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "title" = 'without events', "updated_at" = '2025-03-04 12:34:56' where "id" = '95';
update "tasks" set "title" = 'saved quietly', "updated_at" = '2025-03-04 12:34:56' where "id" = '96';
update "tasks" set "title" = 'without timestamps' where "id" = '98';
update "tasks" set "deleted_at" = '2025-03-04 12:34:56', "updated_at" = '2025-03-04 12:34:56' where "id" = '99';
