"""How the users of a ledger fared: their requests, the failed ones, and the longest time without a successful write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from lab.load.ledger import LedgerRequest

ANSWERED_BY = {"laravel": "answered by laravel", "task_service": "answered by task_service", "": "side unknown"}
FaultPeriod = tuple[float, float]


def availability(requests: Iterable[LedgerRequest], fault: FaultPeriod | None = None) -> dict[str, Any]:
    """Returns counts by name, in the order in which ``accounting.table`` prints them.

    A request **failed** if the answer was a 5xx, was missing, or was anything that users never get while both sides
    work: the traffic sends no request that may be refused. ``fault`` is the start and end of a planned fault, in
    seconds since 1970. Requests that failed during it are also counted separately.
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
    """Returns the longest time, in seconds, in which one run sent writes and none of them succeeded."""
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
