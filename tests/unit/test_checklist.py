"""The checklist: every item of the plan, checked by evidence alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from task_migration.control import checklist
from task_migration.control.checklist import Evidence, MigrationTest, check, state_of
from task_migration.control.consistency_history import Check
from task_migration.control.journal import JournalEntry, Verdict
from task_migration.control.sync_switch import Position

NOW = datetime(2026, 1, 12, 3, 0, tzinfo=UTC)
PHASES = {phase.phase: phase for phase in checklist.phases()}
ITEMS = {item.id: (phase, item) for phase in checklist.phases() for item in phase.items}

COMPARISONS = {
    "counts": {"laravel": 148, "task_service": 146, "quarantined": 2, "equal": True},
    "sample": {"rows": 10, "equal": 10},
    "tags": {"tasks": 146, "equal": 146},
}


def journal(*said: str) -> list[JournalEntry]:
    """Entries from "2.1 copy done"."""
    entries = []
    for number, (phase, item, result) in enumerate((one.split() for one in said), start=1):
        at = NOW + timedelta(minutes=number)
        entries.append(JournalEntry(number, at, "ops", "runner", "ansible-playbook", phase, item, result, {}))  # type: ignore[arg-type]
    return entries


def verdict(comparisons: dict[str, Any]) -> Verdict:
    return Verdict(1, NOW, True, "as it was", {"comparisons": comparisons})


def checked(name: str, *said: str, **evidence: Any) -> checklist.Checked:
    return check(*ITEMS[name], Evidence(journal(*said), **evidence))


def test_the_items_are_the_plans_in_the_plans_words_and_order() -> None:
    assert [[item.ja for item in phase.items] for phase in checklist.phases()] == [
        [
            "Task Service RDS作成完了",
            "Sequelizeマイグレーション実行完了",
            "Cognito マッピングテーブル作成完了",
            "データ移行スクリプト作成完了",
            "開発環境で移行テスト3回成功",
        ],
        ["レコード数一致確認", "サンプルデータ比較完了", "タグデータ検証完了", "ロールバックテスト成功"],
        [
            "Laravel → Task Service同期実装完了",
            "整合性チェックスクリプト稼働中",
            "エラー率 < 0.1%",
            "データ不整合ゼロ",
        ],
        [
            "5% トラフィック移行成功",
            "25% トラフィック移行成功",
            "50% トラフィック移行成功",
            "100% トラフィック移行成功",
            "Laravel書き込み停止",
        ],
        ["Laravel タスク関連コード削除", "ドキュメント更新", "モニタリング継続設定", "完了レポート作成"],
    ]


@pytest.mark.parametrize("name", ITEMS)
def test_without_evidence_no_item_is_checked_and_each_says_what_to_type(name: str) -> None:
    nothing = checked(name)
    assert not nothing.done
    assert nothing.item.command in nothing.missing
    assert nothing.lines()[0].startswith("  [ ] ")


def test_an_item_is_checked_by_its_own_entry_with_who_and_when() -> None:
    done = checked("task_service_tables", "2.1 schema started", "2.1 schema done")
    assert done.lines() == (
        "  [x] The Sequelize migrations have run (Sequelizeマイグレーション実行完了)",
        "      ops@runner, 2026-01-12 03:02 UTC",
    )


def test_the_newest_entry_decides() -> None:
    assert checked("copy", "2.1 copy done", "2.1 copy failed").missing == "failed 2026-01-12 03:02 UTC, by ops@runner"
    assert "started and not finished" in checked("copy", "2.1 copy done", "2.1 copy started").missing
    assert checked("copy", "2.1 copy failed", "2.1 copy done").done


def test_a_refusal_unchecks_nothing_as_it_changed_nothing() -> None:
    assert checked("copy", "2.1 copy done", "2.1 copy refused").done


def test_who_ended_the_phase_did_each_of_its_items() -> None:
    assert checked("user_mapping", "2.1 phase started", "2.1 phase done").done
    assert not checked("user_mapping", "2.1 phase started").done
    assert checked("copy", "2.1 copy failed", "2.1 phase done").done
    assert not checked("copy", "2.1 phase done", "2.1 copy failed").done


def test_the_rollback_test_may_be_left_out_so_the_end_of_the_phase_does_not_prove_it() -> None:
    assert not checked("rollback_test", "2.2 phase done").done
    assert checked("rollback_test", "2.2 rollback_test done", "2.2 phase done").done


def test_an_entry_of_another_phase_proves_nothing() -> None:
    assert not checked("copy", "2.2 copy done", "2.2 phase done").done


@pytest.mark.parametrize("name", ["counts", "sample", "tags"])
def test_a_comparison_needs_its_figures_and_they_must_say_equal(name: str) -> None:
    assert not checked(name, verdict=verdict(COMPARISONS)).done, "a verdict alone is no entry"
    assert "have no result" in checked(name, "2.2 verify done").missing
    assert checked(name, "2.2 verify done", verdict=verdict(COMPARISONS)).done
    other = {**COMPARISONS[name], "equal": False if name == "counts" else 9}
    unequal = checked(name, "2.2 verify done", verdict=verdict({**COMPARISONS, name: other}))
    assert not unequal.done
    assert unequal.missing.startswith("not equal: ")


def test_figures_written_down_with_the_entry_come_before_those_of_a_later_verdict() -> None:
    (entry,) = journal("2.2 verify done")
    written = replace(entry, evidence={"comparisons": COMPARISONS})
    later = verdict({"counts": {"laravel": 1, "task_service": 2, "equal": False}})
    proven = check(*ITEMS["counts"], Evidence([written], later))
    assert proven.done
    assert proven.figures.startswith("laravel 148, task service 146, quarantined 2")


def test_three_migration_tests_are_three_and_not_two() -> None:
    tests = [MigrationTest(f"copy {number}", NOW, "ops", "runner", 342) for number in range(3)]
    two = checked("migration_tests", "2.1 phase done", migration_tests=tests[:2])
    assert (two.done, two.missing) == (False, "2 of 3 so far: ansible-playbook rehearse.yml -e times=3")
    assert checked("migration_tests", migration_tests=tests).figures == (
        "3 different copies proven equal, the last of 342 rows"
    )


def looked(passed: bool | None, age_seconds: float = 60) -> Check:
    return Check(NOW + timedelta(minutes=5), passed, 0.2, 0, 3, {"reasons": ["tasks: 1 missing"]}, age_seconds)


def test_the_sync_is_checked_only_while_its_switch_is_on() -> None:
    on = {"sync_forward": Position(True, NOW, "ops@runner", "phase 2.3")}
    assert checked("sync", "2.3 phase done", switches=on).done
    assert not checked("sync", "2.3 phase done", switches={"sync_forward": Position(False, NOW)}).done
    assert not checked("sync", "2.3 phase failed", switches=on).done


def test_what_the_sync_proved_stays_proven_when_the_end_took_it_away() -> None:
    off = {"sync_forward": Position(False, NOW)}
    for name in ("sync", "consistency_check", "no_inconsistency"):
        assert not checked(name, "2.3 phase done", "2.5 phase started", switches=off).done
        assert checked(name, "2.3 phase done", "2.5 no_way_back done", switches=off).done
        assert not checked(name, "2.5 no_way_back done", switches=off).done


def test_a_consistency_check_that_failed_still_runs_but_does_not_prove_that_all_is_well() -> None:
    assert checked("consistency_check", "2.3 phase done", consistency=looked(True)).done
    assert checked("no_inconsistency", "2.3 phase done", consistency=looked(True)).done
    assert checked("consistency_check", "2.3 phase done", consistency=looked(False)).done
    failed = checked("no_inconsistency", "2.3 phase done", consistency=looked(False))
    assert (failed.done, failed.missing) == (False, "the last check failed: tasks: 1 missing")
    for old in (None, looked(True, age_seconds=7201)):
        assert not checked("no_inconsistency", "2.3 phase done", consistency=old).done
        assert not checked("consistency_check", "2.3 phase done", consistency=old).done


def test_an_error_rate_is_proven_by_enough_requests_and_never_by_few_clean_ones() -> None:
    def rate(*counts: tuple[int, int]) -> checklist.Checked:
        entries = journal(*["2.3 error_rate done"] * len(counts))
        told = [
            replace(entry, evidence={"requests": requests, "errors": errors})
            for entry, (requests, errors) in zip(entries, counts, strict=True)
        ]
        return check(*ITEMS["error_rate"], Evidence(told))

    assert (
        rate((20, 0)).missing
        == "0 of 20 requests failed; 2,995 requests are needed for a proof: ansible-playbook watch.yml"
    )
    assert rate((2000, 0), (1000, 0)).done
    assert not rate((2994, 0)).done
    assert not rate((4741, 1)).done
    assert rate((5000, 1)).figures == "1 of 5,000 requests failed"


def test_what_was_done_before_a_rollback_counts_no_more() -> None:
    entries = journal("2.1 phase done", "2.2 phase done", "rollback-2.1 phase started", "2.1 phase started")
    standing = checklist.in_effect(entries)
    assert [entry.id for entry in standing] == [3, 4]
    assert state_of("2.2", standing).state == "not started"
    dual = journal("2.2 phase done", "2.3 phase done", "rollback-2.3 phase started", "rollback-2.3 phase done")
    assert [state_of(phase, checklist.in_effect(dual)).state for phase in ("2.2", "2.3")] == ["done", "not started"]


def weights(*reached: int, result: str = "done") -> list[JournalEntry]:
    """Phase 2.4, with a run that ended well at each of these weights; ``result`` is the last one's."""
    said = [one for weight in reached for one in (f"2.4 weight_{weight} done", "2.4 phase done")]
    entries = journal(*said)
    for entry, weight in zip(entries[1::2], reached, strict=True):
        entry.evidence["weight"] = weight
    return [*entries[:-1], replace(entries[-1], result=result)]  # type: ignore[arg-type]


def test_a_canary_is_done_at_a_hundred_and_under_way_before() -> None:
    assert state_of("2.4", weights(5)).state == "under way"
    assert state_of("2.4", weights(5, 25, 50)).state == "under way"
    assert state_of("2.4", weights(5, 25, 50, 100)).state == "done"
    assert state_of("2.4", weights(5, 25, result="failed")).state == "failed"


@pytest.mark.parametrize(
    ("reached", "command"), [((), "weight=5"), ((5,), "weight=25"), ((5, 25, 50), "weight=100"), ((50,), "weight=100")]
)
def test_the_next_step_follows_the_highest_weight_that_was_proven(reached: tuple[int, ...], command: str) -> None:
    evidence = Evidence(weights(*reached) if reached else [])
    canary = PHASES["2.4"]
    found = [check(canary, item, evidence) for item in canary.items]
    assert checklist.following(canary, found).endswith(command)


def test_that_laravel_writes_no_more_is_proven_by_the_fence_that_stands_and_not_by_an_entry() -> None:
    assert checked("laravel_fenced", "2.4 fence done", fenced=True).done
    assert "Laravel is no longer fenced" in checked("laravel_fenced", "2.4 fence done").missing
    assert not checked("laravel_fenced", "2.4 phase done", fenced=True).done


def test_the_rollback_of_the_canary_takes_back_the_canary_alone() -> None:
    back = checklist.in_effect(
        journal("2.3 phase done", "2.4 phase done", "rollback-2.4 phase started", "rollback-2.4 phase done")
    )
    assert [state_of(phase, back).state for phase in ("2.3", "2.4")] == ["done", "not started"]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ([], "not started"),
        (["2.1 phase started"], "interrupted"),
        (["2.1 phase started", "2.1 phase done"], "done"),
        (["2.1 phase started", "2.1 phase failed"], "failed"),
        (["2.1 phase done", "2.1 phase started"], "interrupted"),
        (["2.1 phase done", "2.1 phase started", "2.1 phase refused"], "done"),
        (["2.1 phase refused"], "not started"),
        (["2.2 phase done", "2.1 copy done"], "not started"),
    ],
)
def test_the_state_of_a_phase_is_what_its_last_start_or_end_says(said: list[str], state: str) -> None:
    assert state_of("2.1", journal(*said)).state == state


def test_a_start_without_an_end_is_running_only_while_its_own_playbook_holds_the_lock() -> None:
    started = journal("2.1 phase started")
    assert state_of("2.1", started, "phase-2.1-prepare").state == "running"
    assert state_of("2.1", started, "phase-2.2-verify").state == "interrupted"


def test_figures_of_tables_are_added_up_and_long_values_left_out() -> None:
    tables = {"tasks": {"expected": 148, "copied": 146}, "task_images": {"expected": 80, "copied": 1080}}
    assert checklist.figures(tables) == checklist.figures({"tables": tables}) == "expected 228, copied 1,226"
    assert checklist.figures({"engine_version": "15.4", "multi_az": True, "long": "x" * 81}) == (
        "engine version 15.4, multi az yes"
    )
    assert checklist.figures({}) == ""
