"""A dump of somebody's Laravel database in the lab, in place of the lab's own rows."""

from __future__ import annotations

import os
import subprocess

import psycopg
import pytest
from lab.down import down
from lab.servers import database_dump, laravel_tables
from lab.servers.postgres_server import wheel_binaries
from lab.up import up
from task_migration.errors import Failed, Refused


def taken(server, database, path, *words):
    """A dump of a database, as pg_dump takes it."""
    command = [wheel_binaries() / "bin/pg_dump", "--no-owner", "--no-privileges", *words, f"--file={path}"]
    subprocess.run([*command, server.dsn(database)], check=True, env={"PATH": os.environ["PATH"]})
    return str(path)


@pytest.fixture
def empty(laravel_server):
    """An empty database of the application's."""
    laravel_server.drop_database("from_dump")
    laravel_server.add_database("from_dump", laravel_tables.APPLICATION)
    yield "from_dump"
    laravel_server.drop_database("from_dump")


@pytest.mark.parametrize("words", [("--format=custom",), ()], ids=["archive", "sql"])
def test_it_is_loaded_as_the_applications_own(laravel_server, laravel_database, empty, tmp_path, words):
    origin = laravel_database().dsn
    name = psycopg.conninfo.conninfo_to_dict(origin)["dbname"]
    file = taken(laravel_server, name, tmp_path / "dump", *words)
    assert database_dump.load(laravel_server, empty, file) == 150
    with laravel_server.connect(empty) as here, psycopg.connect(origin) as there:
        for table in ("tasks", "task_images", "task_tag", "tags", "users"):
            query = f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
            assert here.execute(query).fetchone() == there.execute(query).fetchone()
        owners = here.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert owners == [(laravel_tables.APPLICATION,)]


def test_what_is_no_dump_is_said_in_postgresqls_words_and_leaves_nothing(laravel_server, empty, tmp_path):
    file = tmp_path / "dump.sql"
    file.write_text("CREATE TABLE users (id int);\nSELEKT 1;\n")
    with pytest.raises(Failed, match=r"psql exited with code 3; measured: .*SELEKT"):
        database_dump.load(laravel_server, empty, str(file))
    with laravel_server.connect(empty) as session:
        assert session.execute("SELECT to_regclass('users')").fetchone() == (None,)
    with pytest.raises(Refused, match="cannot read the dump"):
        database_dump.digest(str(tmp_path / "nowhere"))


def test_a_dump_that_nobody_could_use_is_refused(laravel_server, empty, tmp_path):
    file = tmp_path / "dump.sql"
    file.write_text("CREATE TABLE other (id int);\n")
    with pytest.raises(Refused, match="no table users or tasks"):
        database_dump.load(laravel_server, empty, str(file))
    file.write_text("CREATE TABLE users (id int, cognito_sub text); CREATE TABLE tasks (id int);\n")
    with pytest.raises(Refused, match="no user in the dump has a Cognito sub"):
        database_dump.load(laravel_server, empty, str(file))


def test_the_lab_comes_up_with_it_once_and_is_not_filled_with_anything_else(laravel_server, laravel_database, tmp_path):
    origin = laravel_database().dsn
    file = taken(laravel_server, psycopg.conninfo.conninfo_to_dict(origin)["dbname"], tmp_path / "dump", "-Fc")
    lab = str(tmp_path / "lab")
    try:
        assert "the dump" in up(lab_directory=lab, laravel_dump=file, check=True).message
        first = up(lab_directory=lab, laravel_dump=file)
        assert (first.details["lab_tasks"], first.details["lab_dump"]) == (150, database_dump.digest(file))
        assert not up(lab_directory=lab, laravel_dump=file).changed
        with pytest.raises(Refused, match="already exists with other data"):
            up(lab_directory=lab)
    finally:
        down(lab_directory=lab)
