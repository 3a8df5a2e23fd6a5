"""Connections to the two sides, and PostgreSQL's errors turned into the operator's words, in one place."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict

from task_migration.errors import Failed, MigrationError, Refused
from task_migration.postgres import credentials

CONNECT_TIMEOUT_SECONDS = 10
_SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "search_path": "public",
    "jit": "off",
    # Laravel's server bears as many of our processes as there are workers, and no hidden helpers beside them.
    "max_parallel_workers_per_gather": "0",
    # Both sides keep their data on SSDs; with the default of 4 a range of images reads all tasks.
    "random_page_cost": "1.1",
    "task_migration.origin": "sync",
    # A machine that vanished keeps no lock for longer than 25 s.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

ROLES: Mapping[str, str] = {
    "capture": "owner",
    "clean up": "owner",
    "copy worker": "writer",
    "copy": "owner",
    "fence": "owner",
    "making": "owner",
    "preflight": "owner",
    "quiet": "owner",
    "schema": "owner",
    "stamp": "owner",
    "sequences": "owner",
    "user_mapping": "owner",
    "withdraw": "owner",
    "catch up": "sync",
    "drain": "sync",
    "reconcile": "sync",
    "sync": "sync",
    "consistency": "verifier",
    "verify": "verifier",
}
"""The database role of each purpose, by the purpose's first words; any other only reads. database_roles.yml says what
each may do."""

_REFUSED_LOGIN = ("password authentication failed", "PAM authentication failed", "is not permitted to log in")
_LOST = ("closed the connection", "terminating connection", "connection is lost", "connection is closed")
"""What libpq and psycopg say, without a code of PostgreSQL's, when a session ends under their hands."""


class Unreachable(Refused):
    """Nothing answers there: the server or its database may not have been made yet."""


@dataclass(frozen=True)
class Side:
    """One of the two databases.

    ``dsn`` is a libpq connection string without a password; credentials.py tells what its ``passfile`` may name, and
    what ``{role}`` in it means. ``settings`` are session settings that the mapping's SQL reads, such as
    ``task_migration.laravel_timezone``.
    """

    name: Literal["laravel", "task_service"]
    dsn: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return {"laravel": "Laravel's database", "task_service": "the Task Service's database"}[self.name]

    @property
    def address(self) -> str:
        """Where it is, for messages: host:port/dbname, never a user's password."""
        parts = conninfo_to_dict(self.dsn)
        return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A session that knows its side and its role, so that an error can be told as theirs."""

    side: Side
    role: str

    def execute(self, *args: Any, **kwargs: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        with tagged_errors(self):
            return super().execute(*args, **kwargs)


@contextmanager
def tagged_errors(connection: Connection) -> Iterator[None]:
    """Marks psycopg's errors with the side on which they happened, for ``said``."""
    try:
        yield
    except psycopg.Error as error:
        if not hasattr(error, "side"):
            error.side, error.role = connection.side, connection.role  # type: ignore[attr-defined]
        raise


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """Statements in here go to the server in one round trip; what they gave is to be read afterwards."""
    with tagged_errors(connection), connection.pipeline():
        yield


def laravel(dsn: str, *, timezone: str = "UTC", s3_bucket: str = "") -> Side:
    """Laravel's side, with what its SQL needs to know of the application that writes there."""
    return Side("laravel", dsn, {"task_migration.laravel_timezone": timezone, "task_migration.s3_bucket": s3_bucket})


def task_service(dsn: str) -> Side:
    """The Task Service's side."""
    return Side("task_service", dsn)


def connect(side: Side, purpose: str, *, autocommit: bool = True) -> Connection:
    """A session pinned to UTC and marked as ours, so that the change log's triggers pass over what it writes.

    ``purpose`` is what pg_stat_activity shows, with who and where; its first words choose the database role, where each
    has one (``ROLES``). Off this machine TLS is ``verify-full`` unless the connection string says otherwise. Raises
    Refused if there is no way in, saying what to look at.
    """
    dsn = credentials.for_role(side.dsn, role_for(purpose))
    parts: dict[str, Any] = {
        "connect_timeout": conninfo_to_dict(dsn).get("connect_timeout", CONNECT_TIMEOUT_SECONDS),
        "application_name": f"task_migration {purpose} {getpass.getuser()}@{socket.gethostname()}"[:63],
    }
    connection = _logged_in(side, dsn, parts)
    connection.side, connection.role = side, connection.info.user
    with translated_errors(side):
        try:
            settings = {**_SESSION, **side.settings}
            connection.execute(
                "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)",
                (list(settings), list(settings.values())),
            )
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection


def role_for(purpose: str) -> str:
    """The database role that a session of this purpose works as, where there is one for each."""
    found = (role for words, role in ROLES.items() if purpose == words or purpose.startswith(f"{words} "))
    return next(found, "reader")


def _logged_in(side: Side, dsn: str, parts: Mapping[str, Any]) -> Connection:
    """A new session. A secret that was fetched before may have been replaced since: it is fetched once more."""
    try:
        try:
            return Connection.connect(credentials.login(dsn), autocommit=True, **parts)
        except psycopg.OperationalError as error:
            if not (_is_refused_login(str(error)) and credentials.is_kept_elsewhere(dsn)):
                raise
            return Connection.connect(credentials.login(dsn, renewed=True), autocommit=True, **parts)
    except psycopg.Error as error:
        raise _no_way_in(side, str(conninfo_to_dict(dsn).get("user", getpass.getuser())), error) from error


def read_only(side: Side, purpose: str) -> Connection:
    """A session of one transaction, in which nothing can be written. Raises as ``connect``."""
    connection = connect(side, purpose, autocommit=False)
    connection.read_only = True
    return connection


def connect_if_there(side: Side, purpose: str) -> Connection | None:
    """As ``connect``; None if nothing answers, for check mode, which predicts what is done once there is a database."""
    if not side.dsn.strip():
        return None
    try:
        return connect(side, purpose)
    except Unreachable:
        return None


@contextmanager
def for_purpose(connection: Connection, purpose: str) -> Iterator[Connection]:
    """A session to the same side that may do what ``purpose`` takes: this one, or another where each has its login."""
    if not credentials.is_by_role(connection.side.dsn):
        yield connection
        return
    with connect(connection.side, purpose) as other:
        yield other


@contextmanager
def translated_errors(side: Side) -> Iterator[None]:
    """Turns psycopg's errors into Refused or Failed, in one line that names the side and the way on.

    The side is the one on which the error happened; ``side`` where that is not known.
    """
    try:
        yield
    except psycopg.Error as error:
        raise explained(getattr(error, "side", side), error, getattr(error, "role", "")) from error


@contextmanager
def under_way() -> Iterator[None]:
    """Around work that has begun: a database that can't be reached any more is Failed then, and no longer Refused."""
    try:
        yield
    except Unreachable as gone:
        raise Failed(
            f"{gone.what} any more; what was not committed was rolled back",
            measured=gone.measured,
            next_step="start that database, then run the same command again: it goes on where it stopped",
        ) from gone


def explained(side: Side, error: psycopg.Error, role: str = "") -> MigrationError:
    """One PostgreSQL error of a session in the operator's words; ``role`` is whose session it was, if that is known."""
    text = _text(error)
    where = f"{side.title} ({side.address})"
    if isinstance(error, pg.InsufficientPrivilege):
        return Refused(
            f"the role {role or conninfo_to_dict(side.dsn).get('user', getpass.getuser())} may not do this on {where}",
            measured=text,
            next_step="ansible-playbook database-roles.yml"
            if credentials.is_by_role(side.dsn)
            else "ansible-playbook preflight.yml names the GRANT that is missing",
        )
    if isinstance(error, pg.DiskFull):
        return Failed(
            f"{where} has no disk space left; what was not committed was rolled back",
            measured=text,
            next_step="make room there, then run the same command again: it goes on where it stopped",
        )
    if isinstance(error, pg.LockNotAvailable):
        return Failed(
            f"a lock on {where} was not free in time; nobody was kept waiting longer than that",
            measured=text,
            next_step="run the same command again when long transactions have ended",
        )
    if error.sqlstate is None and any(words in text for words in _LOST):
        return _connection_lost(where, text)
    if isinstance(error, psycopg.OperationalError):
        return _connection_lost(where, text)
    return Failed(f"{where} answered with an error", measured=f"{error.sqlstate}: {text}")


def _text(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())


def _is_refused_login(text: str) -> bool:
    return any(words in text for words in _REFUSED_LOGIN)


def _no_way_in(side: Side, role: str, error: psycopg.Error) -> MigrationError:
    """Why no session could be begun."""
    text, where = _text(error), f"{side.title} ({side.address})"
    if _is_refused_login(text) or "no password supplied" in text:
        return Refused(
            f"{where} does not accept the password of {role}",
            measured=text,
            next_step="ansible-playbook database-roles.yml"
            if credentials.is_by_role(side.dsn)
            else "correct what passfile in the inventory's connection string names",
        )
    if "SSL" in text or "certificate" in text or "no pg_hba.conf entry" in text:
        return Refused(
            f"{where} and this machine do not agree on TLS",
            measured=text,
            allowed="sslmode=verify-full with the server's CA in sslrootcert",
            next_step="correct sslmode and sslrootcert in the inventory's connection string",
        )
    if error.sqlstate is not None:
        return explained(side, error, role)
    return Unreachable(
        f"{where} can't be reached",
        measured=text,
        next_step="correct the connection string in the inventory, or start that database",
    )


def _connection_lost(where: str, text: str) -> MigrationError:
    return Failed(
        f"the connection to {where} was lost; what was not committed was rolled back",
        measured=text,
        next_step="run the same command again: it goes on where it stopped",
    )
