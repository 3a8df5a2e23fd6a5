"""What was typed with -e: laws of the check that stands before everything."""

from __future__ import annotations

from datetime import date

import pytest
from task_migration.check_inputs import check_inputs
from task_migration.errors import Refused
from task_migration.parameters import Parameter, parameters


def inventory(**changes):
    """A whole inventory, as the playbook sees it."""
    of_type = {
        "int": 1000,
        "float": 2.0,
        "bool": True,
        "dict": {},
        "list": ["x"],
        "dsn": "dbname=x",
        "day": "2026-01-31",
    }
    values = {
        name: one.minimum if one.minimum is not None else one.choices[0] if one.choices else of_type.get(one.type, "x")
        for name, one in parameters().items()
        if not one.only
    }
    return {**values, **changes}


def check(playbook="phase-2.1-prepare", settings=None, **typed):
    settings = {**(inventory() if settings is None else settings), **typed}
    return check_inputs(playbook=playbook, extra_vars=typed, variable=settings.get)


def test_what_is_known_passes():
    assert check(lab_tasks="1000", title_policy="refuse", allow_destroy="no").details["typed"] == [
        "allow_destroy",
        "lab_tasks",
        "title_policy",
    ]


def test_a_misspelt_name_is_refused_with_the_one_that_was_meant():
    with pytest.raises(Refused, match=r"has no parameter copy_wokers; did you mean copy_workers\?"):
        check(copy_wokers=4)


def test_a_name_like_no_other_is_refused_with_those_that_there_are():
    with pytest.raises(Refused, match="allowed: alert_command, alert_topic_arn, allow_destroy"):
        check(qqqqqq=4)


def test_a_parameter_of_another_playbook_is_refused_by_the_name_of_that_playbook():
    check("phase-2.2-verify", rollback_test="false")
    with pytest.raises(Refused, match=r"phase-2\.1-prepare has no parameter rollback_test.*phase-2\.2-verify"):
        check(rollback_test="false")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lab_tasks", "abc"),
        ("schedule_begins", "15.12.2025"),
        ("schedule_begins", date(2025, 12, 15)),
        ("fence_until", "soon"),
        ("lab_tasks", "0"),
        ("lab_tasks", "1.5"),
        ("lab_tasks", True),
        ("lab_tasks", ""),
        ("copy_workers", "17"),
        ("copy_chunk_seconds", "nan"),
        ("lock_timeout_seconds", "2s"),
        ("title_policy", "Widen"),
        ("allow_destroy", "maybe"),
        ("quarantine_signed_off", "owner_unmapped"),
        ("alert_command", "mail me"),
        ("alert_command", ["mail", 7]),
        ("alert_command", ["mail", ""]),
        ("aws_region", ""),
        ("laravel_timezone", " "),
        ("laravel_dsn", "somewhere"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused_in_one_line(name, value):
    with pytest.raises(Refused, match=f"-e {name} is not valid") as refused:
        check(**{name: value})
    assert "\n" not in str(refused.value)


def test_a_list_may_be_empty_where_it_says_so():
    check(alert_command=[])
    check(alert_command=["mail", "-s", "{subject}", "on-call"])
    assert not Parameter("words", "list", "words").takes([])


def test_a_connection_string_is_never_repeated():
    with pytest.raises(Refused) as refused:
        check(laravel_dsn="password=hunter2 and more")
    assert "hunter2" not in str(refused.value)


def test_what_ansible_and_awx_hand_over_is_let_through():
    assert check(ansible_python_interpreter="/usr/bin/python3", awx_job_id=7, tower_job_id=7).details["typed"] == []


def test_an_inventory_that_lacks_a_key_is_refused():
    settings = inventory()
    del settings["s3_bucket"]
    with pytest.raises(Refused, match="the inventory's s3_bucket is missing"):
        check(settings=settings)


def test_a_lab_that_is_down_is_said_with_what_to_type():
    with pytest.raises(Refused, match=r"the lab is down.*ansible-playbook lab-up\.yml"):
        check(settings=inventory(laravel_dsn="", migration_environment="local"))
    check("lab-up", settings=inventory(laravel_dsn="", migration_environment="local"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("approvals_required", "0"),
        ("environment_confirmation", "none"),
        ("aws_account_id", "1"),
        ("approval_max_age_hours", 9),
    ],
)
def test_what_guards_an_environment_is_typed_in_the_lab_alone(name, value):
    check(settings=inventory(migration_environment="local"), **{name: value})
    for environment in ("staging", "production"):
        with pytest.raises(Refused, match=f"{name} is set in the inventory and cannot be set with -e"):
            check(settings=inventory(migration_environment=environment), **{name: value})


def test_which_environment_it_is_is_never_typed():
    with pytest.raises(Refused, match="migration_environment is set in the inventory"):
        check(settings=inventory(migration_environment="production"), migration_environment="local")


@pytest.mark.parametrize("playbook", ["lab-up", "lab-down"])
def test_the_labs_playbooks_touch_no_other_environment(playbook):
    with pytest.raises(Refused, match="runs only in the lab"):
        check(playbook, settings=inventory(migration_environment="production"))


def test_every_parameter_says_what_it_is_and_bounds_stand_in_pairs():
    for one in parameters().values():
        assert one.about
        assert (one.minimum is None) == (one.maximum is None)
