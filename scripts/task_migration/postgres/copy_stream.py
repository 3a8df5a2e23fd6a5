"""Streams COPY out of one database into COPY of another; the bytes are passed on and never become Python values.

psycopg's own Copy objects cost several microseconds a row. Here libpq's functions are called directly, and rows are
passed on in blocks. Both connections must be idle or in a transaction. They stay usable, also after an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import errors as pg
from psycopg import pq, sql

from task_migration.postgres import database

BLOCK_BYTES = 64 * 1024


def copy_stream(
    origin: database.Connection, copy_out: sql.Composed, destination: database.Connection, copy_in: sql.Composed
) -> int:
    """Runs ``copy_out`` on ``origin`` into ``copy_in`` on ``destination``; returns the number of rows copied.

    Raises psycopg's error of the side that failed.
    """
    giver, taker = origin.pgconn, destination.pgconn
    with _blocking(giver), _blocking(taker):
        with database.tagged_errors(origin):
            _begin(giver, copy_out.as_bytes(origin), pq.ExecStatus.COPY_OUT)
        try:
            with database.tagged_errors(destination):
                _begin(taker, copy_in.as_bytes(destination), pq.ExecStatus.COPY_IN)
            with database.tagged_errors(origin):
                _hand_through(giver, destination)
                _end(giver)
        except BaseException:
            _abandon(giver)
            with contextlib.suppress(psycopg.Error):
                taker.put_copy_end(b"the other side failed")
                _end(taker)
            raise
        with database.tagged_errors(destination):
            taker.put_copy_end()
            return _end(taker)


def _hand_through(giver: pq.abc.PGconn, destination: database.Connection) -> None:
    get = giver.get_copy_data
    block: list[bytes] = []
    size = 0
    while True:
        length, data = get(0)
        if length < 0:
            break
        block.append(bytes(data))
        size += length
        if size >= BLOCK_BYTES:
            _put(destination, b"".join(block))
            block.clear()
            size = 0
    _put(destination, b"".join(block))


def _put(destination: database.Connection, block: bytes) -> None:
    with database.tagged_errors(destination):
        destination.pgconn.put_copy_data(block)


@contextlib.contextmanager
def _blocking(connection: pq.abc.PGconn) -> Iterator[None]:
    """Makes libpq's calls block, without Python's global lock, instead of polling."""
    before = connection.nonblocking
    connection.nonblocking = 0
    try:
        yield
    finally:
        if connection.status == pq.ConnStatus.OK:
            connection.nonblocking = before


def _begin(connection: pq.abc.PGconn, statement: bytes, wanted: pq.ExecStatus) -> None:
    result = connection.exec_(statement)
    if result.status != wanted:
        raise pg.error_from_result(result)


def _end(connection: pq.abc.PGconn) -> int:
    """Reads the results that follow a COPY; returns the number of rows copied, or raises the error that ended it."""
    rows = 0
    failure: psycopg.Error | None = None
    while (result := connection.get_result()) is not None:
        if result.status == pq.ExecStatus.COMMAND_OK:
            rows = result.command_tuples or 0
        else:
            failure = failure or pg.error_from_result(result)
            if connection.status == pq.ConnStatus.BAD:
                break
    if failure is not None:
        raise failure
    return rows


def _abandon(giver: pq.abc.PGconn) -> None:
    """Cancels a COPY out whose rows are no longer read, so that its connection can be used again."""
    with contextlib.suppress(psycopg.Error):
        giver.get_cancel().cancel()
        while giver.get_copy_data(0)[0] >= 0:
            pass
    with contextlib.suppress(psycopg.Error):
        _end(giver)
