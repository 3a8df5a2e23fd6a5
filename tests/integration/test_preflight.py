"""Preflight stops the migration for each reason there is, in one clear line, and changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from catalog_dump import catalog_of
from psycopg.conninfo import make_conninfo
from sides import Sides
from task_migration.errors import Refused
from task_migration.outcome import Outcome
from task_migration.prepare import preflight


def test_the_lab_passes_with_warnings_each_with_count_keys_and_fix(fresh: Sides) -> None:
    before = catalog_of(fresh.laravel_dsn), catalog_of(fresh.task_service_dsn)
    outcome = _preflight(fresh)
    assert not outcome.changed
    assert (catalog_of(fresh.laravel_dsn), catalog_of(fresh.task_service_dsn)) == before
    found = {finding["found"]: finding for finding in outcome.details["findings"]}
    warned = {text: finding for text, finding in found.items() if finding["level"] == "warn"}
    (priorities,) = (finding for text, finding in warned.items() if "priority outside 1 to 5" in text)
    assert (priorities["count"], list(priorities["sample_keys"])) == (2, [12, 13])
    (users,) = (finding for text, finding in warned.items() if "no Cognito sub" in text)
    assert list(users["sample_keys"]) == [8]
    assert all(finding["fix"] for finding in warned.values())
    assert not any(finding["level"] == "stop" for finding in found.values())
    assert _written(fresh) == json.loads(json.dumps(outcome.details["findings"]))


def test_check_mode_finds_the_same_and_writes_no_file(fresh: Sides) -> None:
    outcome = _preflight(fresh, check=True)
    assert not fresh.reports.exists()
    assert outcome.details == _preflight(fresh).details


STOPS: list[Any] = [
    pytest.param(
        [],
        {"title_policy": "refuse"},
        r"longer than 100 characters \(ids 3, 4.*title_policy: widen",
        id="titles",
    ),
    pytest.param(
        ["INSERT INTO tasks (id, user_id, title) VALUES (2147483648, 1, 't')"],
        {"task_service_id_offset": 10**12},
        r"ids: the highest id is 2147483648.*INTEGER columns end at 2147483647.*id_policy: bigint",
        id="task ids beyond INTEGER",
    ),
    pytest.param(
        ["INSERT INTO task_images (id, task_id, file_path) VALUES (2147483648, 1, 'i.png')"],
        {"task_service_id_offset": 10**12},
        r"the highest id is 2147483648.*INTEGER columns end at 2147483647",
        id="image ids beyond INTEGER",
    ),
    pytest.param(
        ["SELECT setval('tasks_id_seq', 1000000000)"],
        {},
        r"ids apart: the highest id is 1000000000.*start at 1000000000.*task_service_id_offset",
        id="ids beyond the offset",
    ),
    pytest.param(
        [],
        {"laravel_timezone": "Asia/Edo"},
        r"laravel_timezone: .*does not know the time zone Asia/Edo.*APP_TIMEZONE",
        id="time zone",
    ),
    pytest.param(
        ["ALTER TABLE tasks ADD COLUMN colour text"],
        {},
        r"columns: tasks.colour text is new.*ledger",
        id="added",
    ),
    pytest.param(
        ["ALTER TABLE tags DROP COLUMN updated_at"],
        {},
        r"columns: tags.updated_at no longer exists.*ledger",
        id="dropped",
    ),
    pytest.param(
        ["ALTER TABLE tasks ALTER COLUMN priority TYPE integer"],
        {},
        r"columns: tasks.priority is integer, was smallint.*ledger",
        id="retyped",
    ),
    pytest.param(
        ["ALTER TABLE task_tag RENAME TO task_tags"],
        {},
        r"tables: missing: task_tag.*the monolith",
        id="table gone",
    ),
    pytest.param(
        ["UPDATE users SET cognito_sub = 'shared' WHERE id IN (2, 5)"],
        {},
        r"users: two users have the same Cognito sub.*\[2, 5\].*cognito_sub",
        id="one sub for two users",
    ),
]


@pytest.mark.parametrize(("changes", "asked", "said"), STOPS)
def test_each_reason_to_stop_is_refused_in_one_line_and_nothing_is_changed(
    fresh: Sides, changes: list[str], asked: dict[str, Any], said: str
) -> None:
    for change in changes:
        fresh.laravel(change)
    before = catalog_of(fresh.laravel_dsn), catalog_of(fresh.task_service_dsn)
    with pytest.raises(Refused, match=said) as refused:
        _preflight(fresh, **asked)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("Refused, nothing was changed: ")
    assert "; next: " in str(refused.value)
    assert (catalog_of(fresh.laravel_dsn), catalog_of(fresh.task_service_dsn)) == before
    assert [finding for finding in _written(fresh) if finding["level"] == "stop"]


def test_two_subs_for_one_user_are_refused_with_her_id(sides: Sides) -> None:
    sides.ours("UPDATE cognito_user_mapping SET cognito_sub = 'of old' WHERE laravel_user_id = 4")
    with pytest.raises(Refused, match=r"one Cognito sub in users and another in cognito_user_mapping.*\[4\]"):
        _preflight(sides)


def test_a_target_that_holds_foreign_rows_is_refused_and_one_of_ours_is_not(sides: Sides) -> None:
    sides.target("INSERT INTO tasks (user_id, title, created_at, updated_at) VALUES ('somebody', 'x', now(), now())")
    with pytest.raises(Refused, match=r"target: tasks contain rows that the runbook did not copy.*rollback-2.1.yml"):
        _preflight(sides)
    assert sides.target("SELECT count(*) FROM tasks") == [(1,)]
    sides.target("DELETE FROM tasks")
    sides.copy()
    assert not _preflight(sides).changed


def test_a_missing_privilege_names_the_grant_and_this_grant_makes_it_pass(fresh: Sides, laravel_server, bare) -> None:
    with pytest.raises(Refused, match=r"privileges: bare_migrator needs") as refused:
        _preflight(fresh, laravel_dsn=_as(fresh.laravel_dsn, laravel_server, bare))
    grants = re.findall(r"GRANT [^;]+;", refused.value.next_step)
    assert "GRANT laravel TO bare_migrator;" in [grant.replace('"', "") for grant in grants]
    with laravel_server.connect(_dbname(fresh.laravel_dsn)) as superuser:
        for grant in grants:
            superuser.execute(grant)
    outcome = _preflight(fresh, laravel_dsn=_as(fresh.laravel_dsn, laravel_server, bare))
    (blind,) = (finding for finding in outcome.details["findings"] if "copy_max_laravel_load" in finding["found"])
    assert blind["level"] == "warn"
    with laravel_server.connect(_dbname(fresh.laravel_dsn)) as superuser:
        superuser.execute(blind["fix"])
    again = _preflight(fresh, laravel_dsn=_as(fresh.laravel_dsn, laravel_server, bare))
    assert not any("copy_max_laravel_load" in finding["found"] for finding in again.details["findings"])
    as_bare = Sides(
        _as(fresh.laravel_dsn, laravel_server, bare), fresh.laravel_owner_dsn, fresh.task_service_dsn, fresh.reports
    )
    as_bare.prepare()
    as_bare.copy()
    assert as_bare.verify().details["passed"], "what preflight asks for is enough for all that follows"


@pytest.mark.parametrize("side", ["laravel_dsn", "task_service_dsn"])
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("password", r"does not accept the password of {user}.*passfile"),
        ("tls", r"no TLS connection to .*sslmode"),
    ],
)
def test_a_database_that_lets_us_not_in_is_refused_in_one_line(
    fresh: Sides, tmp_path: Path, side: str, broken: str, said: str
) -> None:
    dsn = getattr(fresh, side)
    user = psycopg.conninfo.conninfo_to_dict(dsn)["user"]
    wrong = tmp_path / "wrong-passfile"
    wrong.write_text(f"*:*:*:{user}:not-it\n")
    wrong.chmod(0o600)
    changed = {"password": {"passfile": str(wrong)}, "tls": {"sslmode": "require"}}[broken]
    with pytest.raises(Refused, match=said.format(user=user)) as refused:
        _preflight(fresh, **{side: make_conninfo(dsn, **changed)})
    title = {"laravel_dsn": "Laravel's database", "task_service_dsn": "the Task Service's database"}[side]
    assert title in str(refused.value)
    assert "not-it" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unreachable_laravel_is_refused_and_an_unreachable_task_service_is_not_made_yet(fresh: Sides) -> None:
    nowhere = make_conninfo(fresh.laravel_dsn, port="1")
    with pytest.raises(Refused, match=r"Laravel's database \(127.0.0.1:1/.*cannot be reached.*next: ") as refused:
        _preflight(fresh, laravel_dsn=nowhere)
    assert "\n" not in str(refused.value)
    with pytest.raises(Refused, match=r"Laravel's database .*no_such.*cannot be reached"):
        _preflight(fresh, laravel_dsn=make_conninfo(fresh.laravel_dsn, dbname="no_such"))
    for target in (nowhere, make_conninfo(fresh.task_service_dsn, dbname="no_such"), ""):
        outcome = _preflight(fresh, task_service_dsn=target)
        (finding,) = (finding for finding in outcome.details["findings"] if finding["name"] == "target")
        assert finding["level"] == "ok"
        assert "phase 2.1 creates it" in finding["found"]


def test_several_reasons_are_named_together(fresh: Sides) -> None:
    fresh.laravel("ALTER TABLE tasks ADD COLUMN colour text")
    fresh.laravel("ALTER TABLE users DROP COLUMN name")
    with pytest.raises(Refused, match=r"tasks.colour text is new.*laravel_timezone: .*Nowhere"):
        _preflight(fresh, laravel_timezone="Nowhere")


@pytest.fixture
def fresh(make_sides) -> Sides:
    """Nothing of ours on either side yet."""
    made: Sides = make_sides()
    return made


@pytest.fixture
def bare(laravel_server) -> Iterator[str]:
    """A login that may do nothing yet."""
    name = "bare_migrator"
    laravel_server.add_login(name)
    yield name
    with laravel_server.connect() as superuser:
        superuser.execute(f"REVOKE laravel, pg_read_all_stats FROM {name}")


def _preflight(sides: Sides, **asked: Any) -> Outcome:
    return preflight.preflight(**{**sides.both, "report_directory": str(sides.reports), **asked})


def _written(sides: Sides) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = json.loads((sides.reports / "preflight.json").read_text(encoding="utf-8"))[
        "findings"
    ]
    return findings


def _dbname(dsn: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])


def _as(dsn: str, server, login: str) -> str:
    return str(server.dsn(_dbname(dsn), login))
