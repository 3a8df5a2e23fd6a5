set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
insert into "tasks" ("created_at", "id", "title", "updated_at", "user_id") values ('2025-03-04 12:34:56', '86', 'upserted', '2025-03-04 12:34:56', '4'), ('2025-03-04 12:34:56', '5001', 'upserted, new', '2025-03-04 12:34:56', '4') on conflict ("id") do update set "title" = "excluded"."title", "updated_at" = "excluded"."updated_at";
insert into "tasks" ("id", "title", "user_id") values ('86', 'ignored', '1'), ('5002', 'not ignored', '1') on conflict do nothing;
insert into "tasks" ("user_id", "title") values ('2', 'insertGetId') returning "id";
update "tasks" set "title" = 'updateOrInsert' where "ctid" in (select "tasks"."ctid" from "tasks" where ("id" = '89') limit 1);
insert into "tasks" ("id", "user_id", "title") values ('5003', '3', 'updateOrInsert, new');
insert into "tasks" ("user_id", "title") select "user_id", 'copy of ' || title from "tasks" where "id" = '5001';
