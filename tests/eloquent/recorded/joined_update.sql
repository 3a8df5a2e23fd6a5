set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update "tasks" set "title" = users.name from "users" where "tasks"."id" = '92' and "users"."id" = "tasks"."user_id";
update "tasks" set "title" = 'joined' where "ctid" in (select "tasks"."ctid" from "tasks" inner join "users" on "users"."id" = "tasks"."user_id" where "tasks"."id" = '93');
update "tasks" set "priority" = '1' where "ctid" in (select "tasks"."ctid" from "tasks" where "user_id" = '5' order by "id" asc limit 2);
