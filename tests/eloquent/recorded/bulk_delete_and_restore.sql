set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "deleted_at" = '2025-03-04 12:34:56', "updated_at" = '2025-03-04 12:34:56' where "id" in ('59', '62') and "tasks"."deleted_at" is null;
update "tasks" set "deleted_at" = null, "updated_at" = '2025-03-04 12:34:56' where "tasks"."deleted_at" is not null and "id" in ('101', '121');
delete from "tasks" where "id" in ('65', '68');
delete from "tasks" where "id" in ('71', '74');
delete from "tasks" where "ctid" in (select "tasks"."ctid" from "tasks" inner join "users" on "users"."id" = "tasks"."user_id" where "tasks"."id" = '77');
