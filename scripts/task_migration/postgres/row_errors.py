"""Tells an error that one row caused from one that no row caused."""

from __future__ import annotations

import psycopg

_OF_NO_ROW = frozenset(
    {
        "08",  # connection exception
        "0A",  # feature not supported
        "0B",  # invalid transaction initiation
        "25",  # invalid transaction state
        "26",  # invalid SQL statement name
        "28",  # invalid authorization
        "2D",  # invalid transaction termination
        "34",  # invalid cursor name
        "3B",  # savepoint exception
        "3D",  # invalid catalog name
        "3F",  # invalid schema name
        "40",  # transaction rollback: serialization failure, deadlock
        "42",  # syntax error or access rule violation: a table, a column or a privilege is missing
        "53",  # insufficient resources: disk full, too many connections
        "55",  # object not in prerequisite state: a lock that is not free
        "57",  # operator intervention: a cancelled statement, a shutdown
        "58",  # system error
        "F0",  # configuration file error
        "XX",  # internal error: corrupted data
    }
)
"""Classes of SQLSTATE (appendix A of PostgreSQL's documentation) that no single row causes. Any other may be raised for
a row: by a constraint, by its type, or by a trigger of the application, with whatever code that chose."""


def may_be_of_a_row(error: psycopg.Error) -> bool:
    """Returns whether a row may have caused this error, so that the others can be written without it."""
    return error.sqlstate is not None and error.sqlstate[:2] not in _OF_NO_ROW
