set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tags" set "name" = '改名 🏷️', "updated_at" = '2025-03-04 12:34:56' where "id" = '12';
update "tags" set "updated_at" = '2025-03-04 12:34:56' where "id" = '14';
