set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "title" = 'updateOrCreate', "updated_at" = '2025-03-04 12:34:56' where "id" = '90';
insert into "tasks" ("user_id", "title", "priority", "updated_at", "created_at") values ('5', 'updateOrCreate, new', '1', '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
insert into "tasks" ("user_id", "title", "updated_at", "created_at") values ('5', 'firstOrCreate', '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
insert into "tasks" ("user_id", "source_proposal_id", "assigned_by_user_id", "approved_by_user_id", "title", "description", "due_date", "span", "priority", "group_task_id", "reward", "requires_approval", "requires_image", "approved_at", "is_completed", "completed_at", "deleted_at", "updated_at", "created_at") values ('6', null, '7', '7', 'replicated', 'タスク 90 の説明。', '2025-04-01', '1', '1', null, null, '1', '0', '2024-06-03 12:55:31.51107', '1', '2024-06-02 12:55:30.26107', null, '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
