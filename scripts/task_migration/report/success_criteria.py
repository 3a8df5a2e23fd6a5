"""Judges the plan's success criteria, listed in success_criteria.yml: what was measured against what was promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from task_migration import binomial, yaml_files
from task_migration.control.checklist import CONFIDENCE

State = Literal["met", "missed", "unproven", "not measured"]
"""``unproven``: the measured value is within the bound, but there are too few requests to prove it."""


@dataclass(frozen=True)
class SuccessFacts:
    """The facts that criteria are measured by.

    ``verdict`` is the summary of the last verdict. ``figures`` are the metrics of every active weight, as the canary's
    gate records them. ``watched_requests`` and ``watched_errors`` count the requests of the watch to the API.
    ``sync_p95_ms`` is the p95 of the sync to the Task Service, over all the time that was recorded.
    """

    verdict: Mapping[str, Any] | None = None
    figures: Sequence[Mapping[str, Any]] = ()
    watched_requests: int = 0
    watched_errors: int = 0
    sync_p95_ms: float | None = None


@dataclass(frozen=True)
class Promise:
    """What was promised: the bound, and how a value is compared with it."""

    kind: Literal["least", "below", "most"]
    bound: float
    unit: str

    def kept_by(self, value: float) -> bool:
        return {"least": value >= self.bound, "below": value < self.bound, "most": value <= self.bound}[self.kind]


@dataclass(frozen=True)
class Criterion:
    """One criterion, in the plan's words (``ja``) and in English. ``by_ja`` and ``by_en`` say how it is measured."""

    id: str
    ja: str
    en: str
    area_ja: str
    area_en: str
    by_ja: str
    by_en: str
    promised: Promise
    measure: str = ""


@dataclass(frozen=True)
class Measured:
    """A value in the unit of the promise, out of ``of`` rows or requests. ``proven`` is False if those are too few."""

    value: float
    of: int | None = None
    proven: bool = True


@dataclass(frozen=True)
class JudgedCriterion:
    """A criterion with its measured value and the result."""

    criterion: Criterion
    measured: Measured | None
    state: State = field(default="not measured")

    def as_dict(self) -> dict[str, Any]:
        promised = self.criterion.promised
        return {
            "id": self.criterion.id,
            "ja": self.criterion.ja,
            "en": self.criterion.en,
            "area_ja": self.criterion.area_ja,
            "area_en": self.criterion.area_en,
            "by_ja": self.criterion.by_ja,
            "by_en": self.criterion.by_en,
            "promised": {promised.kind: promised.bound},
            "unit": promised.unit,
            "measured": self.measured.value if self.measured else None,
            "of": self.measured.of if self.measured else None,
            "state": self.state,
        }


@cache
def criteria() -> tuple[Criterion, ...]:
    """Returns the plan's criteria, in order."""
    read = yaml_files.read("report/success_criteria.yml")
    found = []
    for area in read["areas"]:
        for one in area["criteria"]:
            unit = one["promised"].pop("unit")
            ((kind, bound),) = one["promised"].items()
            promise = Promise(kind, float(bound), unit)
            by, names = one["by"], (one["ja"], one["en"], area["ja"], area["en"])
            found.append(Criterion(one["id"], *names, by["ja"], by["en"], promise, one.get("measure", "")))
    return tuple(found)


def judge(facts: SuccessFacts) -> list[JudgedCriterion]:
    """Judges every criterion by these facts."""
    return [_judge_one(one, MEASURES[one.measure](facts) if one.measure else None) for one in criteria()]


def _judge_one(criterion: Criterion, measured: Measured | None) -> JudgedCriterion:
    if measured is None:
        return JudgedCriterion(criterion, None)
    if not criterion.promised.kept_by(measured.value):
        return JudgedCriterion(criterion, measured, "missed")
    return JudgedCriterion(criterion, measured, "met" if measured.proven else "unproven")


def _counts(facts: SuccessFacts) -> Measured | None:
    compared = _comparison(facts, "counts")
    if not compared or not compared["laravel"]:
        return None
    accounted = compared["task_service"] + compared.get("quarantined", 0)
    off = abs(compared["laravel"] - accounted)
    share = 100.0 if compared["equal"] else 100 * (1 - off / compared["laravel"])
    return Measured(min(share, 100.0), compared["laravel"])


def _content(facts: SuccessFacts) -> Measured | None:
    """Every column is compared, so this is at most the share of tasks whose title and description agree."""
    tasks = ((facts.verdict or {}).get("tables") or {}).get("tasks") or {}
    if not tasks.get("laravel_rows"):
        return None
    unequal = tasks["missing"] + tasks["different"]
    return Measured(100 * (1 - unequal / tasks["laravel_rows"]), tasks["laravel_rows"])


def _tags(facts: SuccessFacts) -> Measured | None:
    compared = _comparison(facts, "tags")
    if not compared or not compared["tasks"]:
        return None
    return Measured(100 * compared["equal"] / compared["tasks"], compared["tasks"])


def _p95(facts: SuccessFacts) -> Measured | None:
    return _worst(facts, "p95_ms")


def _sync_time(facts: SuccessFacts) -> Measured | None:
    return None if facts.sync_p95_ms is None else Measured(facts.sync_p95_ms)


def _cpu(facts: SuccessFacts) -> Measured | None:
    return _worst(facts, "cpu_percent")


def _uptime(facts: SuccessFacts) -> Measured | None:
    if not facts.watched_requests:
        return None
    return Measured(100 * (1 - facts.watched_errors / facts.watched_requests), facts.watched_requests)


def _error_rate(facts: SuccessFacts) -> Measured | None:
    requests = sum(int(one.get("requests") or 0) for one in facts.figures)
    errors = sum(int(one.get("errors") or 0) for one in facts.figures)
    if not requests:
        return None
    (bound,) = (one.promised.bound for one in criteria() if one.id == "error_rate")
    return Measured(100 * errors / requests, requests, binomial.proven_below(errors, requests, bound / 100, CONFIDENCE))


MEASURES: dict[str, Callable[[SuccessFacts], Measured | None]] = {
    "counts": _counts,
    "content": _content,
    "tags": _tags,
    "p95": _p95,
    "sync_time": _sync_time,
    "cpu": _cpu,
    "uptime": _uptime,
    "error_rate": _error_rate,
}


def _comparison(facts: SuccessFacts, name: str) -> Mapping[str, Any] | None:
    found = ((facts.verdict or {}).get("comparisons") or {}).get(name)
    return found if isinstance(found, Mapping) else None


def _worst(facts: SuccessFacts, name: str) -> Measured | None:
    """Returns the largest value at any active weight."""
    values = [float(one[name]) for one in facts.figures if one.get(name) is not None]
    return Measured(max(values)) if values else None
