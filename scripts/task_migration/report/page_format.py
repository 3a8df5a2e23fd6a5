"""Formats the values of the migration page: numbers, times, measurements and promises."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from task_migration import times
from task_migration.control import checklist

NOTHING = "\N{EN DASH}"


def number(value: int | float) -> str:
    """Returns 1234567 as "1,234,567"; at most four decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}".rstrip("0").rstrip(".")


def when(at: str | None) -> str:
    """Returns an ISO time as "2025-12-15 01:00:00", in UTC; "" for None."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at else ""


def evidence_summary(evidence: Mapping[str, Any]) -> str:
    """Returns the evidence of a journal entry in a few words: its cause if it has one, else its values."""
    return str(evidence.get("cause") or evidence.get("trigger") or checklist.figures(evidence))


def measured(value: float | None, unit: str) -> str:
    """Returns a value with its unit, a dash for None. It is cut, not rounded, so that 199.96 ms does not look like
    200."""
    if value is None:
        return NOTHING
    cut = Decimal(repr(value)).quantize(Decimal("0.1" if unit == "ms" else "0.0001"), ROUND_DOWN)
    return f"{number(float(cut))} {unit}"


def promised(criterion: Mapping[str, Any]) -> str:
    """Returns the bound of a success criterion: "< 200 ms"."""
    ((kind, bound),) = criterion["promised"].items()
    sign = {"least": "≥ " if bound < 100 else "", "below": "< ", "most": "≤ " if bound else ""}[kind]
    return f"{sign}{number(bound)} {criterion['unit']}"


def error_rate(metrics: Mapping[str, Any]) -> float | None:
    """Returns the failed requests in percent; None if there were no requests."""
    requests = metrics.get("requests")
    return 100 * int(metrics.get("errors") or 0) / requests if requests else None


def p95(metrics: Mapping[str, Any]) -> float | None:
    """Returns the p95 in milliseconds; None if it was not measured."""
    return metrics.get("p95_ms")


def duration(since: str, until: str | None) -> str:
    """Returns the time between two ISO times in words; "" if it has no end."""
    return times.duration(datetime.fromisoformat(until) - datetime.fromisoformat(since)) if until else ""
