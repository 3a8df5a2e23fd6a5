set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
insert into "task_tag" ("tag_id", "task_id") values ('1', '36'), ('5', '36');
delete from "task_tag" where "task_tag"."task_id" = '2' and "task_tag"."tag_id" in ('2');
delete from "task_tag" where "task_tag"."task_id" = '8';
