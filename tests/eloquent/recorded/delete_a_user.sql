set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
begin;
delete from "task_executions" where "task_id" in ('7', '14', '23', '30', '37', '45', '52', '59', '66', '73', '80', '87', '94', '101', '108', '115', '122', '129', '136', '143', '150');
delete from "users" where "id" = '7';
commit;
