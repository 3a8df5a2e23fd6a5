set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
truncate "tasks" restart identity cascade;
insert into "tasks" ("user_id", "title", "updated_at", "created_at") values ('1', 'the first task again', '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
insert into "task_tag" ("tag_id", "task_id") values ('5', '1');
