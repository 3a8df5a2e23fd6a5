"""How long the sync waits when there is nothing to do."""

from __future__ import annotations

import pytest
from task_migration.runtime.run_loop import idle_seconds


@pytest.mark.parametrize(
    ("since_work", "waits"),
    [(0.0, 0.002), (0.01, 0.002), (0.05, 0.01), (0.1, 0.02), (1.0, 0.02), (9.9, 0.02), (10.0, 0.2)],
)
def test_a_write_waits_for_at_most_a_fifth_of_the_gap_before_it_and_20_ms(since_work, waits):
    assert idle_seconds(since_work) == pytest.approx(waits)
