set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
insert into "tasks" ("user_id", "title", "priority", "requires_image", "updated_at", "created_at") values ('1', '新しいタスク', '2', '1', '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
insert into "task_images" ("file_path", "task_id", "updated_at", "created_at") values ('task_images/新/一.jpg', '151', '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
update "tasks" set "updated_at" = '2025-03-04 12:34:56' where "tasks"."id" = '151';
insert into "task_images" ("file_path", "task_id", "updated_at", "created_at") values ('task_images/new/2.jpg', '151', '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
update "tasks" set "updated_at" = '2025-03-04 12:34:56' where "tasks"."id" = '151';
insert into "task_tag" ("tag_id", "task_id") values ('1', '151'), ('3', '151'), ('4', '151');
