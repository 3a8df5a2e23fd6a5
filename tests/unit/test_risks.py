"""The plan's risks, each with what is known of its countermeasure."""

from __future__ import annotations

from task_migration.report import risks
from task_migration.report.risks import RiskFacts

GROUP = {"kind": "owner_unmapped", "count": 3}
CHECKS = {"checks": 12, "failed": 1, "last_passed": True}


def states(**known):
    return {one["id"]: one["state"] for one in risks.judge(RiskFacts(**known))}


def verdict(equal=1000, quarantine=()):
    return {"comparisons": {"tags": {"tasks": 1000, "equal": equal}}, "quarantine": list(quarantine)}


def test_the_plan_has_five_risks_each_in_both_languages():
    found = risks.judge(RiskFacts())
    assert [one["impact"] for one in found] == ["high", "medium", "medium", "high", "high"]
    assert all(one["ja"] and one["en"] and one["measure_ja"] and one["measure_en"] for one in found)
    assert {one["measure"] for one in risks._read()} == risks.MEASURES.keys()


def test_what_nobody_measured_never_holds():
    assert set(states().values()) == {"not measured"}
    assert states(checks={"checks": 0, "failed": 0, "last_passed": False})["dual_write"] == "not measured"


def test_all_of_them_can_hold_and_say_by_what_in_both_languages():
    rehearsals = {"green": 3, "faults": ["breach", "database restarted"]}
    found = risks.judge(RiskFacts(verdict(), CHECKS, 0, rehearsals))
    assert {one["state"] for one in found} == {"held"}
    assert all(one["by_en"] and one["by_ja"] for one in found)


def test_each_of_them_can_fail():
    found = states(
        verdict=verdict(equal=999, quarantine=[GROUP]), checks={**CHECKS, "last_passed": False}, migration_tests=2
    )
    assert found.pop("database_down") == "not measured"
    assert set(found.values()) == {"not held"}
