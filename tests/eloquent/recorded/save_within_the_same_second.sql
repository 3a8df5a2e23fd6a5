set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "title" = 'saved twice', "updated_at" = '2025-03-04 12:34:56' where "id" = '44';
