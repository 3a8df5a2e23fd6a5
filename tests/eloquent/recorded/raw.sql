set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
update tasks set title = 'by update' where id = '114';
update tasks set title = 'by statement' where id = 116;
update tasks set title = 'unprepared' where id = 119;
