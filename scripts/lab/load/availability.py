"""How the users of a ledger fared: what they asked for, what failed, and how long no write of theirs got through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from lab.load.ledger import LedgerRequest

ANSWERED_BY = {"laravel": "answered by laravel", "task_service": "answered by task_service", "": "side unknown"}
FaultPeriod = tuple[float, float]


def availability(requests: Iterable[LedgerRequest], fault: FaultPeriod | None = None) -> dict[str, Any]:
    """Figures by name, as ``table`` of the accounting prints them.

    A request has **failed** if it was answered by a 5xx, by nobody, or by anything that users never get where both
    sides are well: they ask for nothing that could be refused. ``fault`` is from when until when failures were meant,
    in seconds since 1970; what failed of the requests under way then is counted apart, too.
    """
    counts = dict.fromkeys(("requests", *ANSWERED_BY.values(), "failed requests"), 0)
    during = 0
    runs: dict[str, list[LedgerRequest]] = defaultdict(list)
    for request in requests:
        counts["requests"] += 1
        counts[ANSWERED_BY[request.side]] += 1
        if request.failed:
            counts["failed requests"] += 1
            during += fault is not None and request.sent <= fault[1] and request.answered >= fault[0]
        if request.writes:
            runs[request.run].append(request)
    pause = max(map(_longest_pause, runs.values()), default=0.0)
    apart = {} if fault is None else {"failed during the fault": during}
    return {**counts, **apart, "longest write pause ms": round(1000 * pause)}


def _longest_pause(writes: list[LedgerRequest]) -> float:
    """The longest time in which one run sent writes and none of them was done, in seconds."""
    longest, under_way, since = 0.0, 0, None
    for at, begins, done in sorted(
        event for one in writes for event in ((one.sent, True, False), (one.answered, False, not one.failed))
    ):
        under_way += 1 if begins else -1
        if begins and since is None:
            since = at
        if done and since is not None:
            longest = max(longest, at - since)
            since = at if under_way else None
    last = max(one.answered for one in writes)
    return longest if since is None else max(longest, last - since)
