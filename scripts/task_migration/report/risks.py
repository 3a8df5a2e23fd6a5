"""Judges the countermeasures of the plan's risks, listed in risks.yml, by the evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from task_migration import yaml_files

State = Literal["held", "not held", "not measured"]
TESTS = 3
"""How many test runs the plan requires."""


@dataclass(frozen=True)
class RiskFacts:
    """The facts that countermeasures are judged by.

    ``verdict`` is the summary of the last verdict. ``checks`` counts the consistency checks (``checks``, ``failed``,
    and ``last_passed`` for the newest). ``migration_tests`` counts those of this environment. ``rehearsals`` is what
    phase 2.1 recorded of them.
    """

    verdict: Mapping[str, Any] | None = None
    checks: Mapping[str, Any] | None = None
    migration_tests: int = 0
    rehearsals: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RiskState:
    """Whether a countermeasure holds, and how this is known, in both languages."""

    state: State
    en: str = ""
    ja: str = ""


def judge(facts: RiskFacts) -> list[dict[str, Any]]:
    """Returns every risk in the plan's order: its texts and ``impact``, ``state``, and ``by_en`` and ``by_ja``."""
    found = []
    for risk in _read():
        one = MEASURES[risk["measure"]](facts)
        texts = {name: text for name, text in risk.items() if name != "measure"}
        found.append({**texts, "state": one.state, "by_en": one.en, "by_ja": one.ja})
    return found


def _users_without_cognito(facts: RiskFacts) -> RiskState:
    if facts.verdict is None:
        return RiskState("not measured")
    groups = facts.verdict.get("quarantine") or []
    rows = sum(int(one["count"]) for one in groups if one["kind"] == "owner_unmapped")
    en = (
        f"tasks whose owner is not migrated: {rows:,}, in the last verdict"
        if rows
        else "the owners of all tasks are migrated"
    )
    ja = f"最新の検証で所有者未移行のタスク {rows:,} 件" if rows else "所有者未移行のタスクなし"
    return RiskState("not held" if rows else "held", en, ja)


def _tags(facts: RiskFacts) -> RiskState:
    compared = ((facts.verdict or {}).get("comparisons") or {}).get("tags")
    if not compared:
        return RiskState("not measured")
    equal, tasks = compared["equal"], compared["tasks"]
    en = f"{equal:,} of {tasks:,} tasks have equal tags, in the last verdict"
    return RiskState("held" if equal == tasks else "not held", en, f"最新の検証で {tasks:,} 件中 {equal:,} 件一致")


def _dual_write(facts: RiskFacts) -> RiskState:
    checks = facts.checks
    if not checks or not checks["checks"]:
        return RiskState("not measured")
    passed = bool(checks["last_passed"])
    newest = "passed" if passed else "did not pass"
    en = f"checks: {checks['checks']:,}, failed: {checks['failed']:,}; the newest {newest}"
    ja = f"チェック {checks['checks']:,} 回、失敗 {checks['failed']:,} 回、最新は{'成功' if passed else '不成功'}"
    return RiskState("held" if passed else "not held", en, ja)


def _database_down(facts: RiskFacts) -> RiskState:
    faults = (facts.rehearsals or {}).get("faults") or []
    if "database restarted" not in faults:
        return RiskState("not measured")
    en = "a rehearsal with a crash of this database under traffic lost no data"
    return RiskState("held", en, "利用者のいる状態でのDB停止リハーサルで損失なし")


def _program(facts: RiskFacts) -> RiskState:
    rehearsed = int((facts.rehearsals or {}).get("green") or 0)
    runs = max(rehearsed, facts.migration_tests)
    if not runs:
        return RiskState("not measured")
    kinds = ("rehearsals", "リハーサル") if rehearsed >= facts.migration_tests else ("copies", "移行テスト")
    en, ja = f"green {kinds[0]}: {runs}, required: {TESTS}", f"{kinds[1]} {runs} 回成功、条件は {TESTS} 回以上"
    return RiskState("held" if runs >= TESTS else "not held", en, ja)


MEASURES: dict[str, Callable[[RiskFacts], RiskState]] = {
    "users_without_cognito": _users_without_cognito,
    "tags": _tags,
    "dual_write": _dual_write,
    "database_down": _database_down,
    "program": _program,
}


@cache
def _read() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml_files.read("report/risks.yml")["risks"]
    return found
