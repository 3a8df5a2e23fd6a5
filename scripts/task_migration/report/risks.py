"""The plan's risks, each with what is known of its countermeasure: risks.yml, held against the evidence. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

State = Literal["held", "not held", "not measured"]
TESTS = 3
"""So many test runs the plan asks for."""


@dataclass(frozen=True)
class RiskFacts:
    """What a countermeasure may be known by: the last verdict's summary; how the consistency checks ended (``checks``,
    ``failed``, and ``last_passed`` of the newest); the migration tests on this side; and what phase 2.1 wrote down of
    the rehearsals."""

    verdict: Mapping[str, Any] | None = None
    checks: Mapping[str, Any] | None = None
    migration_tests: int = 0
    rehearsals: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RiskState:
    """Whether a countermeasure holds, and by what, in both languages."""

    state: State
    en: str = ""
    ja: str = ""


def held(known: RiskFacts) -> list[dict[str, Any]]:
    """Every risk in the plan's order: its words and ``impact``, ``state``, and ``by_en`` and ``by_ja``."""
    found = []
    for risk in _read():
        one = MEASURES[risk["measure"]](known)
        told = {name: text for name, text in risk.items() if name != "measure"}
        found.append({**told, "state": one.state, "by_en": one.en, "by_ja": one.ja})
    return found


def _users_without_cognito(known: RiskFacts) -> RiskState:
    if known.verdict is None:
        return RiskState("not measured")
    groups = known.verdict.get("quarantine") or []
    rows = sum(int(one["count"]) for one in groups if one["kind"] == "owner_unmapped")
    en = f"tasks that wait for their owners: {rows:,}, by the last verdict" if rows else "no task waits for its owner"
    ja = f"最新の検証で所有者未移行のタスク {rows:,} 件" if rows else "所有者未移行のタスクなし"
    return RiskState("not held" if rows else "held", en, ja)


def _tags(known: RiskFacts) -> RiskState:
    compared = ((known.verdict or {}).get("comparisons") or {}).get("tags")
    if not compared:
        return RiskState("not measured")
    equal, tasks = compared["equal"], compared["tasks"]
    en = f"{equal:,} of {tasks:,} tasks with equal tags, by the last verdict"
    return RiskState("held" if equal == tasks else "not held", en, f"最新の検証で {tasks:,} 件中 {equal:,} 件一致")


def _dual_write(known: RiskFacts) -> RiskState:
    checks = known.checks
    if not checks or not checks["checks"]:
        return RiskState("not measured")
    passed = bool(checks["last_passed"])
    newest = "passed" if passed else "did not pass"
    en = f"checks: {checks['checks']:,}, of them failed: {checks['failed']:,}; the newest {newest}"
    ja = f"チェック {checks['checks']:,} 回、失敗 {checks['failed']:,} 回、最新は{'成功' if passed else '不成功'}"
    return RiskState("held" if passed else "not held", en, ja)


def _database_down(known: RiskFacts) -> RiskState:
    faults = (known.rehearsals or {}).get("faults") or []
    if "database restarted" not in faults:
        return RiskState("not measured")
    en = "a rehearsal with a crash of that database under users lost nothing"
    return RiskState("held", en, "利用者のいる状態でのDB停止リハーサルで損失なし")


def _program(known: RiskFacts) -> RiskState:
    rehearsed = int((known.rehearsals or {}).get("green") or 0)
    runs = max(rehearsed, known.migration_tests)
    if not runs:
        return RiskState("not measured")
    kinds = ("rehearsals", "リハーサル") if rehearsed >= known.migration_tests else ("copies", "移行テスト")
    en, ja = f"green {kinds[0]}: {runs}, asked for {TESTS}", f"{kinds[1]} {runs} 回成功、条件は {TESTS} 回以上"
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
    found: list[dict[str, Any]] = yaml.safe_load((files("task_migration") / "report" / "risks.yml").read_text("utf-8"))[
        "risks"
    ]
    return found
