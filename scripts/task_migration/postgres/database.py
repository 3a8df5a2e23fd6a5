"""Sessions on the two databases, and the translation of PostgreSQL's errors into Refused and Failed."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from psycopg import errors as pg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from task_migration import sql_files
from task_migration.errors import Failed, MigrationError, Refused
from task_migration.postgres import credentials, session_settings

CONNECT_TIMEOUT_SECONDS = 10
ORIGIN = {"task_migration.origin": "sync"}
"""The mark of the runbook's sessions: the triggers of the change log and of the fence ignore what they write."""

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
"""The database role of each purpose, by the purpose's first words; any other purpose uses the reader.
database_roles.yml declares what each role may do."""

_REFUSED_LOGIN = ("password authentication failed", "PAM authentication failed", "is not permitted to log in")
_UNANSWERED = (
    *("Connection refused", "Connection timed out", "Connection reset by peer", "timeout expired", "timed out"),
    *("could not translate host name", "could not resolve", "failed to resolve", "No route to host"),
    *("Network is unreachable", "Host is down", "No such file or directory", "closed the connection unexpectedly"),
)
"""Texts of libpq and the operating system when no server answers a login. They are always English: only what the server
says is in the language of its lc_messages, and libpq passes on no SQLSTATE of a refused login."""
_NO_CONNECTION_FREE = ("too many connections", "too many clients", "connection slots are reserved", "connection limit")
_MORE_CONNECTIONS = (
    "end idle sessions there, or raise max_connections or the role's CONNECTION LIMIT; then run the same command again"
)
_LOST = ("closed the connection", "terminating connection", "connection is lost", "connection is closed")
"""Texts of psycopg, in errors that are not operational and have no SQLSTATE, when a session is lost."""
_ROW_SECURITY = "check_enable_rls"
"""The function of PostgreSQL that refuses a statement whose rows a policy would filter. It shares its SQLSTATE with a
missing privilege."""
_ENDED = ("57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04")
"""SQLSTATEs with which the server ends a session: for a shutdown or a crash, or because a time limit was reached."""


class Unreachable(Refused):
    """The database does not respond: the server or the database may not exist yet."""


@dataclass(frozen=True)
class Side:
    """One of the two databases.

    ``dsn`` is a libpq connection string without a password; credentials.py describes its ``passfile`` and ``{role}``.
    ``settings`` are session settings that the mapping's SQL reads, such as ``task_migration.laravel_timezone``.
    """

    name: Literal["laravel", "task_service"]
    dsn: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return {"laravel": "Laravel's database", "task_service": "the Task Service's database"}[self.name]

    @property
    def address(self) -> str:
        """Returns host:port/dbname for messages, without a login."""
        parts = conninfo_to_dict(self.dsn)
        return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A session that knows its side and its role, so that an error message can name them."""

    side: Side
    role: str

    def execute(self, *args: Any, **kwargs: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        with tagged_errors(self):
            return super().execute(*args, **kwargs)


@contextmanager
def tagged_errors(connection: Connection) -> Iterator[None]:
    """Marks psycopg's errors with the side on which they happened, for ``translated_errors``."""
    try:
        yield
    except psycopg.Error as error:
        if not hasattr(error, "side"):
            error.side, error.role = connection.side, connection.role  # type: ignore[attr-defined]
        raise


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """Sends the statements of the block in one round trip; read their results after the block."""
    with tagged_errors(connection), connection.pipeline():
        yield


def laravel(dsn: str, *, timezone: str = "UTC", s3_bucket: str = "") -> Side:
    """Returns Laravel's side, with the application's settings that the SQL needs."""
    return Side("laravel", dsn, {"task_migration.laravel_timezone": timezone, "task_migration.s3_bucket": s3_bucket})


def task_service(dsn: str) -> Side:
    """Returns the Task Service's side."""
    return Side("task_service", dsn)


def connect(side: Side, purpose: str, *, autocommit: bool = True) -> Connection:
    """Opens a session with every setting of ``session_settings``, marked as the runbook's (``ORIGIN``).

    ``purpose`` is shown in pg_stat_activity, with the user and the host; its first words select the database role, if
    there is one for each purpose (``ROLES``). To another machine TLS is ``verify-full`` unless the connection string
    says otherwise. Raises Refused, with the next step, if it cannot connect.
    """
    session_settings.forget_the_shell()
    dsn = credentials.for_role(side.dsn, role_for(purpose))
    parts: dict[str, Any] = {
        "connect_timeout": _connect_timeout(conninfo_to_dict(dsn)),
        "application_name": f"task_migration {purpose} {getpass.getuser()}@{socket.gethostname()}"[:63],
    }
    connection = _logged_in(side, dsn, parts)
    connection.side, connection.role = side, connection.info.user
    with translated_errors(side):
        try:
            if other := session_settings.pin(connection, {**ORIGIN, **side.settings}):
                raise _not_set(connection, other)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection


def _connect_timeout(given: Mapping[str, Any]) -> Any:
    """Returns how many seconds a login may take: a rollback sets a shorter limit in its connection string."""
    return given.get("connect_timeout", CONNECT_TIMEOUT_SECONDS)


def role_for(purpose: str) -> str:
    """Returns the database role of a purpose, if there is one for each purpose."""
    found = (role for words, role in ROLES.items() if purpose == words or purpose.startswith(f"{words} "))
    return next(found, "reader")


def _logged_in(side: Side, dsn: str, parts: Mapping[str, Any]) -> Connection:
    """Opens a new session. If the login fails with a secret read earlier, the secret is read again once."""
    try:
        try:
            return Connection.connect(credentials.login(dsn), autocommit=True, **parts)
        except psycopg.OperationalError as error:
            if _is_unanswered(str(error)) or not credentials.is_kept_elsewhere(dsn):
                raise
            return Connection.connect(credentials.login(dsn, renewed=True), autocommit=True, **parts)
    except psycopg.Error as error:
        raise _no_way_in(side, dsn, error) from error


def read_only(side: Side, purpose: str) -> Connection:
    """Opens a session with one read-only transaction. Raises as ``connect`` does."""
    connection = connect(side, purpose, autocommit=False)
    connection.read_only = True
    return connection


def connect_if_there(side: Side, purpose: str) -> Connection | None:
    """Opens a session as ``connect`` does; None if the database does not exist yet, for check mode."""
    if not side.dsn.strip():
        return None
    try:
        return connect(side, purpose)
    except Unreachable:
        return None


@contextmanager
def for_purpose(connection: Connection, purpose: str) -> Iterator[Connection]:
    """Yields a session on the same side with the rights for ``purpose``: this one, or a new one with that login."""
    if not credentials.is_by_role(connection.side.dsn):
        yield connection
        return
    with connect(connection.side, purpose) as other:
        yield other


@contextmanager
def translated_errors(side: Side) -> Iterator[None]:
    """Translates psycopg's errors into Refused or Failed, in one line that names the side and the next step.

    The side is the one on which the error happened; ``side`` if that is not known.
    """
    try:
        yield
    except psycopg.Error as error:
        raise explained(getattr(error, "side", side), error, getattr(error, "role", "")) from error


@contextmanager
def under_way() -> Iterator[None]:
    """Turns Unreachable into Failed, for work that has started."""
    try:
        yield
    except Unreachable as gone:
        raise Failed(
            f"{gone.what} any more; uncommitted changes were rolled back",
            measured=gone.measured,
            next_step="start that database, then run the same command again: it continues where it stopped",
        ) from gone


def explained(side: Side, error: psycopg.Error, role: str = "") -> MigrationError:
    """Returns one PostgreSQL error as a MigrationError; ``role`` is the session's role, if it is known."""
    text = _text(error)
    where = f"{side.title} ({side.address})"
    if error.diag.source_function == _ROW_SECURITY:
        return Refused(
            f"policies hide rows from {role or 'this login'} on {where}; what is hidden would be taken as deleted",
            measured=text,
            allowed="a login that sees every row",
            next_step=f"ALTER ROLE {role or 'of the connection string'} BYPASSRLS",
        )
    if isinstance(error, pg.InsufficientPrivilege):
        return Refused(
            f"the role {role or conninfo_to_dict(side.dsn).get('user', getpass.getuser())} has no permission for this "
            f"on {where}",
            measured=text,
            next_step="ansible-playbook database-roles.yml"
            if credentials.is_by_role(side.dsn)
            else "ansible-playbook preflight.yml prints the missing GRANT",
        )
    if isinstance(error, pg.DiskFull):
        return Failed(
            f"{where} has no disk space left; uncommitted changes were rolled back",
            measured=text,
            next_step="free disk space there, then run the same command again: it continues where it stopped",
        )
    if isinstance(error, pg.LockNotAvailable):
        return Failed(
            f"a lock on {where} was not free in time; other sessions waited no longer than that",
            measured=text,
            next_step="wait until long transactions have ended, then run the same command again",
        )
    if isinstance(error, (pg.SerializationFailure, pg.DeadlockDetected)):
        return Failed(
            f"another session changed the same rows on {where} at the same time; uncommitted changes were rolled back",
            measured=f"{error.sqlstate}: {text}",
            next_step="run the same command again: it continues where it stopped",
        )
    if isinstance(error, pg.QueryCanceled):
        return Failed(
            f"a statement on {where} was cancelled from outside; uncommitted changes were rolled back",
            measured=f"{error.sqlstate}: {text}",
            next_step="run the same command again: it continues where it stopped",
        )
    if isinstance(error, (pg.TooManyConnections, pg.ConfigurationLimitExceeded)):
        return Failed(
            f"{where} has no free connection for {role or 'this login'}; uncommitted changes were rolled back",
            measured=f"{error.sqlstate}: {text}",
            next_step=_MORE_CONNECTIONS,
        )
    if _is_lost(error, text):
        return _connection_lost(where, text)
    return Failed(f"{where} reported an error", measured=f"{error.sqlstate}: {text}" if error.sqlstate else text)


def _is_lost(error: psycopg.Error, text: str) -> bool:
    """Returns whether the session has ended: by the class of the error, or, for an error of libpq or psycopg, which
    has no SQLSTATE, because it is operational."""
    if error.sqlstate is not None:
        return error.sqlstate[:2] == "08" or error.sqlstate in _ENDED
    return isinstance(error, psycopg.OperationalError) or any(words in text for words in _LOST)


def _text(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())


def _is_refused_login(text: str) -> bool:
    return any(words in text for words in _REFUSED_LOGIN)


def _is_unanswered(text: str) -> bool:
    return any(words in text for words in _UNANSWERED)


def _no_way_in(side: Side, dsn: str, error: psycopg.Error) -> MigrationError:
    """Returns the error for a session that could not be opened: Unreachable if no server answers, or if it has no such
    database, or is not open for it; Refused if it answers and does not let this login in."""
    role, text = str(conninfo_to_dict(dsn).get("user", getpass.getuser())), _text(error)
    where = f"{side.title} ({side.address})"
    if _is_refused_login(text) or "no password supplied" in text:
        return Refused(
            f"{where} does not accept the password of {role}",
            measured=text,
            next_step="ansible-playbook database-roles.yml"
            if credentials.is_by_role(side.dsn)
            else "correct the password in the passfile of the inventory's connection string",
        )
    if "SSL" in text or "certificate" in text or "no pg_hba.conf entry" in text:
        return Refused(
            f"no TLS connection to {where} is possible with these settings",
            measured=text,
            allowed="sslmode=verify-full with the server's CA in sslrootcert",
            next_step="correct sslmode and sslrootcert in the inventory's connection string",
        )
    if any(words in text for words in _NO_CONNECTION_FREE):
        return Refused(f"{where} has no free connection for {role}", measured=text, next_step=_MORE_CONNECTIONS)
    if _is_unanswered(text) or _is_closed(dsn):
        return Unreachable(
            f"{where} cannot be reached",
            measured=text,
            next_step="correct the connection string in the inventory, or start that database",
        )
    return Refused(
        f"{where} answers, but does not let {role} in",
        measured=text,
        next_step="correct what the server reports, or the connection string in the inventory",
    )


def _is_closed(dsn: str) -> bool:
    """Returns whether the server is starting or shutting down, or has no such database, or has closed it to sessions.

    The first is libpq's own judgement; the others are read from the database postgres, with the same login.
    """
    given = conninfo_to_dict(dsn)
    bounded = make_conninfo(credentials.login(dsn), connect_timeout=_connect_timeout(given))
    if pq.PGconn.ping(bounded.encode()) == pq.Ping.REJECT:
        return True
    try:
        with psycopg.connect(make_conninfo(bounded, dbname="postgres"), autocommit=True) as connection:
            row = connection.execute(sql_files.statement("postgres/session_settings.sql", "database"), given).fetchone()
    except psycopg.Error:
        return False
    return row is None or not row[0]


def _not_set(connection: Connection, other: Mapping[str, tuple[str, str]]) -> Refused:
    return Refused(
        f"{connection.side.title} does not let {connection.role} set {' and '.join(other)}",
        measured=", ".join(f"{name} is {found}" for name, (found, _) in other.items()),
        allowed=", ".join(f"{name} = {needed}" for name, (_, needed) in other.items()),
        next_step="; ".join(
            f"ALTER ROLE {connection.role} SET {name} = '{needed}'" for name, (_, needed) in other.items()
        ),
    )


def _connection_lost(where: str, text: str) -> MigrationError:
    return Failed(
        f"the connection to {where} was lost; uncommitted changes were rolled back",
        measured=text,
        next_step="run the same command again: it continues where it stopped",
    )
