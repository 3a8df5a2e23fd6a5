set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "title" = 'saved once', "description" = '二行
''quoted'' \ and back', "updated_at" = '2025-03-04 12:34:56' where "id" = '44';
