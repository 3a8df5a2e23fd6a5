"""The CloudWatch metrics of one consistency check, named as in metric_data.yml; None for a value that is not known."""

from __future__ import annotations


def of_consistency(
    *, passed: bool | None, seconds: float, rows: int, differences: int, dead_letters: int | None
) -> dict[str, float | None]:
    """Returns the metrics. ``passed`` is None if the check could not run; its counts are then not known."""
    ran = passed is not None
    return {
        "ConsistencyVerdict": {True: 1.0, False: -1.0, None: 0.0}[passed],
        "ConsistencyDuration": seconds,
        "ConsistencyRows": rows if ran else None,
        "ConsistencyDifferences": differences if ran else None,
        "DeadLetters": dead_letters if ran else None,
    }
