"""The mapping files: legal in psql as they stand, complete, and kind to Laravel's indexes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from lab.servers.postgres_server import wheel_binaries
from psycopg import sql
from task_migration.mapping import table_mapping
from task_migration.mapping.selector import KeyRange, KeySet, Selector
from task_migration.postgres import database, schema_drift
from task_migration.prepare import schema, user_mapping
from task_migration.sync import capture
from task_migration.sync.table_shape import shape_of

MAPPINGS = table_mapping.mappings()
TABLES = [one.table for one in MAPPINGS]
SETTINGS = {"timezone": "Asia/Tokyo", "s3_bucket": "task-images"}


@pytest.mark.parametrize("table", TABLES)
def test_a_mapping_file_is_legal_in_psql_as_it_stands(laravel: database.Connection, table: str) -> None:
    file = Path(str(files("task_migration") / "mapping" / "task_service" / "mapping" / f"{table}.sql"))
    asked = {"laravel_timezone": SETTINGS["timezone"], "s3_bucket": SETTINGS["s3_bucket"]}
    options = " ".join(f"-c task_migration.{name}={value}" for name, value in asked.items())
    run = subprocess.run(
        [wheel_binaries() / "bin" / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, laravel.side.dsn],
        env={**os.environ, "PGOPTIONS": options, "PAGER": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.stderr == ""
    assert run.returncode == 0
    answers = re.findall(r"^\(\d+ rows?\)$", run.stdout, re.MULTILINE)
    assert len(answers) == len(_mapping(table).blocks), "each block is one statement"


@pytest.mark.parametrize("table", TABLES)
def test_unselected_and_selected_by_every_key_give_the_same_rows(laravel: database.Connection, table: str) -> None:
    one = _mapping(table)
    for statement in (one.candidates, one.rows, one.quarantine):
        everything = sorted(map(str, laravel.execute(statement())))
        by_range = sorted(map(str, laravel.execute(statement(KeyRange(1, 10**9)))))
        assert everything == by_range
        assert everything, "the lab has a row for every block"
        parts = [row for part in KeyRange(1, 40_000).halves() for row in laravel.execute(statement(part))]
        assert sorted(map(str, parts)) == everything, "and side by side they are the whole"


@pytest.mark.parametrize("table", TABLES)
def test_what_maps_and_what_is_held_back_are_the_candidates_and_nothing_is_both(
    laravel: database.Connection, table: str
) -> None:
    one = _mapping(table)
    candidates = [key for (key,) in laravel.execute(one.candidates())]
    place = [column.name for column in laravel.execute(one.rows(KeyRange(1, 1))).description or ()].index(one.key)
    mapped = [row[place] for row in laravel.execute(one.rows())]
    held_back = {key for key, _, held, _ in laravel.execute(one.quarantine()) if held}
    assert len(set(candidates)) == len(candidates)
    assert len(set(mapped)) == len(mapped), "one row for a key"
    assert set(mapped) | held_back == set(candidates)
    assert not set(mapped) & held_back


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("selector", [KeyRange(5000, 5100), KeySet(tuple(range(5000, 5100)))], ids=["range", "set"])
def test_a_narrow_selection_reads_the_base_table_by_its_index(
    laravel: database.Connection, table: str, selector: Selector
) -> None:
    one = _mapping(table)
    for name, statement in (("candidates", one.candidates), ("rows", one.rows), ("quarantine", one.quarantine)):
        scanned = _scanned_whole(laravel, statement(selector))
        assert one.base_table not in scanned, name
        assert "task_tag" not in scanned, name


@pytest.mark.parametrize(
    ("table", "written"),
    [
        ("tasks", "task_tag"),
        ("task_images", "tasks"),
        ("group_tasks", "cognito_user_mapping"),
        ("task_images", "cognito_user_mapping"),
    ],
)
def test_what_a_write_touches_is_found_by_an_index(laravel: database.Connection, table: str, written: str) -> None:
    touched = _mapping(table).touched_by(written, KeySet((500,)))
    assert touched is not None
    assert not _scanned_whole(laravel, touched) & {"tasks", "task_images"}


def test_the_ledger_has_every_column_of_every_table_that_a_mapping_reads(laravel: database.Connection) -> None:
    read = {
        table
        for one in MAPPINGS
        for block in one.blocks.values()
        for table in re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", block)
        if table not in ("unnest", "LATERAL", "users")  # users is only the way to the tasks of its rows
    }
    assert read == set(table_mapping.ledger()) | {"cognito_user_mapping"}
    assert read == set(table_mapping.captured_tables()), "what is read is captured"
    assert schema_drift.drift(laravel) == []
    there = schema_drift.columns(laravel, list(table_mapping.ledger()))
    assert there == {
        table: {column: entry.type for column, entry in columns.items()}
        for table, columns in table_mapping.ledger().items()
    }


def test_every_fate_but_moved_has_its_reason() -> None:
    for table, columns in table_mapping.ledger().items():
        for name, entry in columns.items():
            assert entry.fate in ("moved", "derived", "kept"), f"{table}.{name}"
            assert entry.fate == "moved" or entry.reason, f"{table}.{name}"


@pytest.mark.parametrize("table", TABLES)
def test_mapped_columns_and_those_the_destination_owns_are_the_tables(
    laravel: database.Connection, target: database.Connection, table: str
) -> None:
    one = _mapping(table)
    shape = shape_of(one, laravel, target)
    mapped = [column.name for column in shape.columns]
    assert not set(mapped) & one.destination_owned.keys()
    assert sorted([*mapped, *one.destination_owned]) == sorted(schema_drift.columns(target, [table])[table])
    assert all(one.destination_owned.values()), "each with its reason"
    assert one.key in mapped


def test_parents_come_before_their_children() -> None:
    for place, one in enumerate(MAPPINGS):
        assert one.parent is None or one.parent.table in TABLES[:place]


@pytest.fixture(scope="module")
def laravel(laravel_server: Any, laravel_template: Any) -> Iterator[database.Connection]:
    """A Laravel database of 20,000 tasks with our mapping table and capture."""
    name = "mapping_files"
    laravel_server.add_database(name, "laravel", template=laravel_template(20_000))
    dsn = laravel_server.dsn(name, "task_migrator")
    user_mapping.user_mapping(laravel_dsn=dsn, check=False)
    capture.capture(laravel_dsn=dsn, check=False)
    with database.connect(database.laravel(dsn, **SETTINGS), "test") as connection:
        with laravel_server.connect(name) as superuser:
            superuser.execute("ANALYZE")
        yield connection
    laravel_server.drop_database(name)


@pytest.fixture(scope="module")
def target(task_service_server: Any) -> Iterator[database.Connection]:
    name = "mapping_files"
    task_service_server.add_database(name, "task_service_admin")
    dsn = task_service_server.dsn(name, "task_service_admin")
    schema.schema(
        task_service_dsn=dsn,
        schema_runner="sql",
        sequelize_directory="",
        title_policy="widen",
        id_policy="refuse",
        check=False,
    )
    with database.connect(database.task_service(dsn), "test") as connection:
        yield connection
    task_service_server.drop_database(name)


def _mapping(table: str) -> table_mapping.Mapping:
    return next(one for one in MAPPINGS if one.table == table)


def _scanned_whole(connection: database.Connection, statement: sql.Composed) -> set[str]:
    """The tables that PostgreSQL would read from end to end."""
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) ") + statement).fetchone()
    assert row is not None

    def walk(node: dict[str, Any]) -> Iterator[str]:
        if node["Node Type"] == "Seq Scan":
            yield node["Relation Name"]
        for child in node.get("Plans", ()):
            yield from walk(child)

    return set(walk(row[0][0]["Plan"]))
