"""The settings of every session of the runbook: what changes what a statement means, or how long it may take.

The server, the database, the role and the shell may each set them otherwise. So a session sets them all and reads them
back, and owes nothing to any of these places.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import psycopg

from task_migration import sql_files

_FILE = "postgres/session_settings.sql"
_MEANING: Mapping[str, str] = {
    # What a text means, and how a value is printed.
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "client_encoding": "UTF8",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "xmloption": "content",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "TimeZone": "UTC",
    "timezone_abbreviations": "Default",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    # What a statement finds. With row_security off, PostgreSQL reports an error where a policy would hide rows.
    "search_path": "public",
    "row_security": "off",
    "transform_null_equals": "off",
    "gin_fuzzy_search_limit": "0",
    # What a transaction sees, and what a commit promises.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",
    # How long it may take; 0 is no limit. The runbook sets a limit where it needs one.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # Which triggers fire. Only a superuser may set it.
    "session_replication_role": "origin",
    # What a new table, function or login gets.
    "check_function_bodies": "on",
    "default_tablespace": "",
    "default_table_access_method": "heap",
    "password_encryption": "scram-sha-256",
}
_COST: Mapping[str, str] = {
    "jit": "off",
    # Laravel's server gets one process for each worker of the runbook, and no parallel workers in addition.
    "max_parallel_workers_per_gather": "0",
    # Both servers use SSDs; with the default of 4, a range of images would read all tasks.
    "random_page_cost": "1.1",
    "plan_cache_mode": "auto",
    # A machine that disappears keeps its locks for 25 s at most. A Unix socket has no keepalives, and shows 0.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_SINCE = {"transaction_timeout": 17}
"""The first major version of PostgreSQL that has a setting, if that is later than 14."""
_STRONGER = {("synchronous_commit", "remote_apply")}
"""Values that promise more than the wanted one: they are left as they are."""

_LIBPQ_VARIABLES = frozenset(
    f"PG{name}"
    for name in (
        *("HOST", "HOSTADDR", "PORT", "DATABASE", "USER", "PASSWORD", "PASSFILE", "REQUIREAUTH", "CHANNELBINDING"),
        *("SERVICE", "SERVICEFILE", "OPTIONS", "APPNAME", "SSLMODE", "REQUIRESSL", "SSLCOMPRESSION", "SSLCERT"),
        *("SSLKEY", "SSLCERTMODE", "SSLROOTCERT", "SSLCRL", "SSLCRLDIR", "SSLSNI", "SSLNEGOTIATION", "REQUIREPEER"),
        *("SSLMINPROTOCOLVERSION", "SSLMAXPROTOCOLVERSION", "GSSENCMODE", "KRBSRVNAME", "GSSLIB", "GSSDELEGATION"),
        *("CONNECT_TIMEOUT", "CLIENTENCODING", "TARGETSESSIONATTRS", "LOADBALANCEHOSTS", "DATESTYLE", "TZ", "GEQO"),
        *("SYSCONFDIR", "LOCALEDIR", "MINPROTOCOLVERSION", "MAXPROTOCOLVERSION", "OAUTHDEBUG"),
    )
)
"""The environment variables of libpq, from its documentation."""


def forget_the_shell() -> None:
    """Removes libpq's variables from the environment of this process: a connection is what the inventory says."""
    for name in _LIBPQ_VARIABLES & os.environ.keys():
        del os.environ[name]


def pin(connection: psycopg.Connection[Any], of_the_side: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Sets every setting of a new session, and ``of_the_side``, then reads them back.

    Returns those that this login may not set: name -> the value in effect, and the one that is needed.
    """
    major = connection.info.server_version // 10_000
    meaning = {name: value for name, value in _MEANING.items() if major >= _SINCE.get(name, 0)}
    connection.execute(sql_files.statement(_FILE, "set"), _columns({**meaning, **_COST, **of_the_side}))
    found = dict(connection.execute(sql_files.statement(_FILE, "in effect"), _columns(meaning)).fetchall())
    return {
        name: (found[name], value)
        for name, value in meaning.items()
        if found[name] != value and (name, found[name]) not in _STRONGER
    }


def _columns(settings: Mapping[str, str]) -> dict[str, list[str]]:
    return {"names": list(settings), "values": list(settings.values())}
