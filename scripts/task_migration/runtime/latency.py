"""The latency of the sync: over the last minute and in total, and its history in a file.

Latencies are counted in classes, each 1 % wider than the one before, so that 5,000 of them a second use little memory
and a percentile needs no sorting.
"""

from __future__ import annotations

import bisect
import json
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WINDOW_SECONDS = 60
HISTORY_BYTES = 5_000_000
# They include the bounds of 15 ms, 25 ms and 100 ms that apply to the sync.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_STEP = math.log(1.01)
_SHORTEST = 1e-5


@dataclass
class _Second:
    """What happened within one second of the monotonic clock."""

    at: int
    entries: int = 0
    classes: Counter[int] = field(default_factory=Counter)


class LatencyWindow:
    """Synced entries and their latencies, in seconds. Not thread-safe: a caller that shares it needs a lock."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds_in_all = 0.0
        self._since = time.monotonic()
        self._recent: deque[_Second] = deque(maxlen=WINDOW_SECONDS + 1)

    def add(self, entries: int, latencies: Iterable[float]) -> None:
        """Adds entries that were synced now. A negative latency, caused by clocks that differ, counts as 0."""
        now = int(time.monotonic())
        if not self._recent or self._recent[-1].at != now:
            self._recent.append(_Second(now))
        second = self._recent[-1]
        second.entries += entries
        for latency in latencies:
            second.classes[round(math.log(max(latency, _SHORTEST)) / _STEP)] += 1
            self.buckets[bisect.bisect_left(BUCKETS, latency)] += 1
            self.seconds_in_all += max(0.0, latency)

    def percentiles(self, *, seconds: int = WINDOW_SECONDS) -> dict[str, float | None]:
        """Returns p50, p95 and p99 of the last ``seconds`` seconds, in ms and exact to 1 %; None without an entry."""
        classes: Counter[int] = Counter()
        for second in self._last(seconds):
            classes.update(second.classes)
        total, ordered = classes.total(), sorted(classes.items())
        return {f"p{share}": _percentile(ordered, total, share) for share in (50, 95, 99)}

    def entries_per_second(self, *, seconds: int = WINDOW_SECONDS) -> float:
        """Returns the rate over the last ``seconds`` seconds, or since the start if that is shorter."""
        lasted = min(seconds, max(1.0, time.monotonic() - self._since))
        return round(sum(second.entries for second in self._last(seconds)) / lasted, 2)

    def _last(self, seconds: int) -> list[_Second]:
        oldest = int(time.monotonic()) - seconds
        return [second for second in self._recent if second.at > oldest]


def _percentile(ordered: list[tuple[int, int]], total: int, share: int) -> float | None:
    seen = 0
    for step, count in ordered:
        seen += count
        if seen * 100 >= total * share:
            return round(math.exp(step * _STEP) * 1000, 3)
    return None


def append_sample(path: Path, sample: Mapping[str, Any]) -> None:
    """Appends one line of JSON to a history file. At 5 MB the file is renamed to ``<name>.1``, replacing an older one.

    Raises OSError if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size >= HISTORY_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(dict(sample)) + "\n")


def read_history(directory: Path, direction: str) -> list[dict[str, Any]]:
    """Returns the samples of a direction's sync, oldest first. Lines cut short by a crash are ignored."""
    samples = []
    for name in (f"lag-{direction}.jsonl.1", f"lag-{direction}.jsonl"):
        try:
            lines = (directory / name).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                sample = json.loads(line)
            except ValueError:
                continue
            if isinstance(sample, dict) and {"at", "lag_ms", "entries_per_second", "state"} <= sample.keys():
                samples.append(sample)
    return samples
