"""What the journal may hold, when a verdict is stale, and what an unfinished start means: no database needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from task_migration import times
from task_migration.control import journal
from task_migration.errors import Refused
from task_migration.external import masking

NOW = datetime(2026, 1, 12, 3, 0, tzinfo=UTC)
UNREACHABLE = "host=127.0.0.1 port=1 dbname=laravel user=nobody"


def verdict(*, hours: float = 1, passed: bool = True) -> journal.Verdict:
    return journal.Verdict(1, NOW - timedelta(hours=hours), passed, "as it was", {})


def entry(number: int, result: str, item: str = "phase", phase: str = "2.1") -> journal.JournalEntry:
    return journal.JournalEntry(number, NOW, "ops", "runner", "ansible-playbook", phase, item, result, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        "host=db user=task_migrator password=hunter2",
        "host=db PASSWORD = 'hunter two'",
        "PGPASSWORD=hunter2 psql",
        "postgresql://task_migrator:hunter2@db/laravel",
        "postgresql://db/laravel?user=x&password=hunter2",
        "passwd=hunter2",
    ],
)
def test_evidence_that_looks_like_a_password_is_refused_before_any_connection(value: str) -> None:
    with pytest.raises(Refused, match=r"evidence\.deep\[1\]\.dsn looks like a password") as refusal:
        journal.journal(
            laravel_dsn=UNREACHABLE, phase="2.1", item="copy", result="done", evidence={"deep": [1, {"dsn": value}]}
        )
    assert "hunter" not in str(refusal.value)


def test_evidence_under_the_name_of_a_secret_is_refused() -> None:
    with pytest.raises(Refused, match=r"evidence\.db_password looks like a password"):
        journal.journal(
            laravel_dsn=UNREACHABLE, phase="2.1", item="provision", result="done", evidence={"db_password": "hunter2"}
        )


@pytest.mark.parametrize(
    "value",
    [
        "host=db user=task_migrator passfile=/etc/pass",
        "Refused: the database does not accept the password of task_migrator",
        "postgresql://task_migrator@db:5432/laravel",
        "postgresql://task_migrator:***@db/laravel",
        "password=********",
        "the token: expired",
    ],
)
def test_causes_of_failures_and_connection_strings_without_a_password_are_evidence(value: str) -> None:
    journal._refuse_secrets({"cause": value, "password_set": True, "secrets": 0})


@pytest.mark.parametrize("value", [float("nan"), object(), datetime(2026, 1, 1), "a\0b"])
def test_what_json_or_postgresql_cannot_hold_is_refused_before_any_connection(value: object) -> None:
    with pytest.raises(Refused):
        journal.journal(laravel_dsn=UNREACHABLE, phase="2.1", item="copy", result="done", evidence={"value": value})


def test_a_result_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused, match="measured: finished; allowed: started, done, failed, refused"):
        journal.journal(laravel_dsn=UNREACHABLE, phase="2.1", item="copy", result="finished")


def test_the_command_is_kept_as_typed_and_its_secrets_are_not() -> None:
    assert (
        masking.typed_command(
            [
                *("/opt/venv/bin/ansible-playbook", "phase-2.1-prepare.yml", "-i", "../inventories/production"),
                *("-e", "ansible_become_pass=hunter2", "-e", '{"db_password": "hunter two", "lab_tasks": 5}'),
                *("-e", "laravel_dsn=postgresql://ops:hunter2@db/laravel", "--vault-password-file=/etc/vault"),
            ]
        )
        == "ansible-playbook phase-2.1-prepare.yml -i ../inventories/production"
        " -e 'ansible_become_pass=***' -e '{\"db_password\": ***, \"lab_tasks\": 5}'"
        " -e 'laravel_dsn=postgresql://ops:***@db/laravel' --vault-password-file=/etc/vault"
    )


def test_what_goes_by_the_name_of_a_secret_is_found_however_deep() -> None:
    typed = {"ansible_become_pass": "one", "metric_source": {"token": "two", "urls": [{"password": 3}]}, "weight": 25}
    assert masking.secret_values({**typed, "api_token": None, "set_password": True}) == {"one", "two", "3"}


def test_a_verdict_is_fresh_for_as_long_as_allowed_and_stale_a_second_later() -> None:
    assert journal.stale_because(verdict(hours=24), NOW, 24, "as it was") is None
    assert journal.stale_because(verdict(hours=24), NOW + timedelta(seconds=1), 24, "as it was") == (
        "the verdict of 2026-01-11 03:00 UTC is 1 d 0 h old; allowed: 24 h"
    )


def test_a_young_verdict_is_stale_once_a_table_was_altered() -> None:
    reason = journal.stale_because(verdict(), NOW, 24, "as it is now")
    assert reason == "a table was altered after the verdict of 2026-01-12 02:00 UTC"


def test_no_gate_leans_on_a_red_verdict_or_on_none() -> None:
    assert journal.stale_because(None, NOW, 24, None) == "nothing has been verified yet"
    assert journal.stale_because(verdict(passed=False), NOW, 24, None) == "the verdict of 2026-01-12 02:00 UTC is red"


def test_a_verdict_from_the_future_is_not_fresh() -> None:
    assert "clock was set back" in str(journal.stale_because(verdict(hours=-1), NOW, 24, None))


def test_a_start_without_an_end_is_an_interruption_and_one_with_any_end_is_not() -> None:
    assert journal.interrupted([]) is None
    assert journal.interrupted([entry(1, "started"), entry(2, "done", item="copy")]) == entry(1, "started")
    for end in ("done", "failed", "refused"):
        assert journal.interrupted([entry(1, "started"), entry(2, end)]) is None
    assert journal.interrupted([entry(1, "done"), entry(2, "started")]) == entry(2, "started")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (720, "12 min"), (12_000, "3 h 20 min"), (190_800, "2 d 5 h")],
)
def test_a_duration_is_told_in_the_units_that_matter(seconds: int, words: str) -> None:
    assert times.duration(timedelta(seconds=seconds)) == words
