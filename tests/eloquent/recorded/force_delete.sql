set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
delete from "tasks" where "id" = '35';
delete from "tasks" where "id" = '57';
delete from "tasks" where "id" = '81';
