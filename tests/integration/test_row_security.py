"""A table of which a policy hides rows is never copied, verified or synced: what is hidden is not deleted."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from sides import BUCKET, TIME_ZONE, Sides
from task_migration.control import sync_switch
from task_migration.errors import Refused
from task_migration.prepare.preflight import preflight
from workers import Both, capture_there

HIDE = (
    "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE tasks FORCE ROW LEVEL SECURITY",
    "CREATE POLICY own ON tasks USING (current_user = 'no_such_login')",
)


def asked(sides: Sides, **more: Any) -> dict[str, Any]:
    return {
        "laravel_dsn": sides.laravel_dsn,
        "task_service_dsn": sides.task_service_dsn,
        "laravel_timezone": TIME_ZONE,
        "s3_bucket": BUCKET,
        "report_directory": str(sides.reports),
        **more,
    }


@pytest.mark.parametrize("side", ["laravel", "task_service"])
def test_preflight_stops_with_the_tables_and_the_login(copied: Sides, side: str) -> None:
    hide, dsn = (copied.laravel, copied.laravel_dsn) if side == "laravel" else (copied.target, copied.task_service_dsn)
    for statement in HIDE:
        hide(statement)
    login = conninfo_to_dict(dsn)["user"]
    with pytest.raises(Refused, match=f"policies hide rows of tasks from {login}") as refused:
        preflight(**asked(copied))
    assert f'ALTER ROLE "{login}" BYPASSRLS' in str(refused.value)


def test_policies_that_do_not_reach_the_login_are_no_finding(copied: Sides) -> None:
    copied.laravel(HIDE[0])  # without FORCE the owner's members see every row
    preflight(**asked(copied))


def test_a_copy_refuses_what_it_cannot_see(sides: Sides) -> None:
    for statement in HIDE:
        sides.laravel(statement)
    with pytest.raises(Refused, match="policies hide rows"):
        sides.copy()
    assert sides.target("SELECT count(*) FROM tasks") == [(0,)]


@pytest.mark.parametrize("side", ["laravel", "task_service"])
def test_a_verify_is_not_green_over_what_it_cannot_see(copied: Sides, side: str) -> None:
    for statement in HIDE:
        (copied.laravel if side == "laravel" else copied.target)(statement)
    with pytest.raises(Refused, match="policies hide rows"):
        copied.verify()


@pytest.mark.parametrize("side", ["laravel", "task_service"])
def test_the_sync_blocks_and_deletes_nothing(copied: Sides, side: str) -> None:
    capture_there(copied)
    for switch in ("sync_forward", "sync_backward"):
        sync_switch.sync_switch(laravel_dsn=copied.laravel_dsn, name=switch, state="on")
    before = copied.target("SELECT count(*) FROM tasks"), copied.laravel("SELECT count(*) FROM tasks")
    both = Both(copied)
    both.connect()
    hide, show = (copied.laravel, copied.laravel) if side == "laravel" else (copied.target, copied.target)
    try:
        copied.laravel("UPDATE tasks SET title = 'new', updated_at = now()")
        copied.target("UPDATE tasks SET status = 'completed', updated_at = now()")
        for statement in HIDE:
            hide(statement)
        for worker in (both.forward, both.backward):
            with pytest.raises(Refused, match="policies hide rows"):
                worker.step()
    finally:
        both.close()
    show("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY")
    assert (copied.target("SELECT count(*) FROM tasks"), copied.laravel("SELECT count(*) FROM tasks")) == before
    both.connect()
    try:
        both.settle()
    finally:
        both.close()
    assert (copied.target("SELECT count(*) FROM tasks"), copied.laravel("SELECT count(*) FROM tasks")) == before
