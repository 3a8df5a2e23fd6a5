"""The CloudWatch metrics of one consistency check, by the names in metric_data.yml; None for what is not known."""

from __future__ import annotations


def of_consistency(
    *, passed: bool | None, seconds: float, rows: int, differences: int, dead_letters: int | None
) -> dict[str, float | None]:
    """One check; of one that could not look, its counts are not known."""
    looked = passed is not None
    return {
        "ConsistencyVerdict": {True: 1.0, False: -1.0, None: 0.0}[passed],
        "ConsistencyDuration": seconds,
        "ConsistencyRows": rows if looked else None,
        "ConsistencyDifferences": differences if looked else None,
        "DeadLetters": dead_letters if looked else None,
    }
