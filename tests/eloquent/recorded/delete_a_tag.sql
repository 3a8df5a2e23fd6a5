set names 'utf8';
set time zone 'Asia/Tokyo';
set search_path to "public";
delete from "tags" where "id" = '13';
