"""How the users of a ledger fared."""

from __future__ import annotations

import pytest
from lab.load.availability import availability
from lab.load.ledger import LedgerRequest


def asked(sent, answered, outcome="acknowledged", *, side="laravel", verb="update", run="r"):
    return LedgerRequest(side, verb, 1, f"{run}-1", "sub", {}, sent, answered, outcome)


def test_every_request_is_counted_with_the_side_that_answered_it():
    found = availability([asked(1, 2), asked(1, 2, side="task_service", verb="read"), asked(1, 2, "unknown", side="")])
    assert (found["requests"], found["failed requests"]) == (3, 1)
    assert (found["answered by laravel"], found["answered by task_service"], found["side unknown"]) == (1, 1, 1)


@pytest.mark.parametrize(("outcome", "failed"), [("unchanged", 0), ("refused", 1), ("unknown", 1)])
def test_a_request_has_failed_unless_it_was_done(outcome, failed):
    assert availability([asked(1, 2, outcome)])["failed requests"] == failed


def test_what_was_under_way_during_the_fault_is_counted_apart():
    failures = [asked(1, 2, "unknown"), asked(2, 4, "unknown"), asked(5, 6, "refused"), asked(7, 8, "unknown")]
    assert availability([*failures, asked(5, 6)], (3, 6.5))["failed during the fault"] == 2
    assert "failed during the fault" not in availability(failures)


@pytest.mark.parametrize(
    ("writes", "milliseconds"),
    [
        ([], 0),
        ([asked(1, 1.5)], 500),
        ([asked(1, 1.5), asked(1.4, 3)], 1500),
        # Nobody asked for anything in between.
        ([asked(1, 1.5), asked(9, 9.1)], 500),
        ([asked(1, 1.5), asked(2, 2.1, "unknown"), asked(3, 3.1, "refused"), asked(4, 4.2)], 2200),
        # None was done any more.
        ([asked(1, 1.5), asked(2, 2.1, "unknown"), asked(3, 7, "unknown")], 5000),
        ([asked(1, 1.5, verb="read"), asked(1.2, 1.4)], 200),
        # Between two runs there is nobody.
        ([asked(1, 2, "unknown", run="a"), asked(9, 9.5, run="b")], 1000),
    ],
)
def test_a_write_pause_is_a_time_in_which_writes_were_sent_and_none_was_done(writes, milliseconds):
    assert availability(writes)["longest write pause ms"] == milliseconds
