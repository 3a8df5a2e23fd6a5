set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "users" set "cognito_sub" = 'sub-of-8', "updated_at" = '2025-03-04 12:34:56' where "id" = '8';
update "users" set "cognito_sub" = null, "updated_at" = '2025-03-04 12:34:56' where "id" = '6';
insert into "users" ("name", "email", "cognito_sub", "updated_at", "created_at") values ('新人', 'new@example.com', 'sub-of-new', '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
insert into "tasks" ("title", "user_id", "updated_at", "created_at") values ('hers', '10', '2025-03-04 12:34:56', '2025-03-04 12:34:56') returning "id";
