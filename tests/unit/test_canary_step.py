"""What a run of phase 2.4 starts with, as a table; and what it rolls back and says if it fails."""

from __future__ import annotations

import pytest
from task_migration.canary.canary_step import CanaryStep, step_of
from task_migration.canary.canary_stop import canary_stop
from task_migration.errors import Refused

DONE_5, DONE_25 = ["shift", "weight_5"], ["shift", "weight_5", "weight_25"]
DONE_50, DONE_100 = [*DONE_25, "weight_50"], [*DONE_25, "weight_50", "weight_100"]
PROMOTED = [*DONE_100, "fence", "promotion"]


def step(weight, before, state="under way", done=(), **more):
    known = {"promoted_before": False, "probe_rate": 0.0, "interrupted": {}, "fenced": False}
    return step_of(weight, before=before, state=state, done=done, **{**known, **more})


def case(name, weight, before, *, state="under way", done=(), expected, **more):
    """``expected`` are the fields that say something of the case; those of the judgement and the approval always do."""
    return pytest.param(step(weight, before, state, done, **more), expected, id=name)


START = {"judges_weight_before": True, "needs_approval": False, "proven": False, "has_work": True, "promoted": False}
RESUMED = {**START, "judges_weight_before": False}
AGAIN = {**START, "proven": True, "has_work": False}

CASES = [
    # One weight after the other
    case("the first", 5, 0, state="not started", expected={**START, "came_from": 0, "back_to": 0, "ended": False}),
    case("the next", 25, 5, done=DONE_5, expected={**START, "came_from": 5, "back_to": 5, "ended": True}),
    case(
        "after a failure",
        25,
        5,
        state="failed",
        done=DONE_5,
        expected={**START, "came_from": 5, "back_to": 5, "ended": False},
    ),
    case(
        "all of it is the last",
        100,
        50,
        done=DONE_50,
        expected={**START, "came_from": 50, "back_to": 50, "ended": False, "needs_approval": True},
    ),
    # Out of order, with force: it fails back to where it came from
    case("a jump", 50, 5, done=DONE_5, expected={**START, "came_from": 5, "back_to": 5}),
    case("a jump from 0", 25, 0, state="not started", expected={**START, "came_from": 0, "back_to": 0}),
    case("down", 5, 50, done=DONE_50, expected={**START, "came_from": 50, "back_to": 0}),
    case("down one", 25, 50, done=DONE_50, expected={**START, "came_from": 50, "back_to": 5}),
    # The same command again
    case("again", 25, 25, done=DONE_25, expected={**AGAIN, "came_from": 25, "back_to": 5}),
    case("again, to judge it anew", 25, 25, done=DONE_25, probe_rate=20.0, expected={**RESUMED, "back_to": 5}),
    case("again, after another failed", 25, 25, state="failed", done=DONE_25, expected={**AGAIN, "has_work": True}),
    case("the stage was set by hand", 25, 25, done=DONE_5, expected={**RESUMED, "came_from": 25, "back_to": 5}),
    # A run that was interrupted
    case(
        "before the weight was set",
        25,
        5,
        state="interrupted",
        done=DONE_5,
        interrupted={"from": 5, "weight": 25},
        expected={**START, "came_from": 5, "back_to": 5, "ended": False},
    ),
    case(
        "after the weight was set",
        25,
        25,
        state="interrupted",
        done=DONE_5,
        interrupted={"from": 5, "weight": 25},
        expected={**RESUMED, "came_from": 5, "back_to": 5, "ended": False},
    ),
    case(
        "a jump, after the weight was set",
        25,
        25,
        state="interrupted",
        interrupted={"from": 0, "weight": 25, "forced": True},
        expected={**RESUMED, "came_from": 0, "back_to": 0},
    ),
    case(
        "after the proof",
        25,
        25,
        state="interrupted",
        done=DONE_25,
        interrupted={"from": 5, "weight": 25},
        expected={**START, "proven": True, "came_from": 5, "back_to": 5, "ended": False},
    ),
    case(
        "another weight was interrupted",
        50,
        25,
        state="interrupted",
        done=DONE_25,
        interrupted={"from": 5, "weight": 25},
        expected={**START, "came_from": 25, "back_to": 25},
    ),
    # 100 %: proven, fenced, promoted
    case(
        "interrupted while 100 % was judged",
        100,
        100,
        state="interrupted",
        done=DONE_50,
        interrupted={"from": 50, "weight": 100},
        expected={**RESUMED, "came_from": 50, "back_to": 50, "needs_approval": True},
    ),
    case(
        "interrupted before the promotion",
        100,
        100,
        state="interrupted",
        done=[*DONE_100, "fence"],
        interrupted={"from": 50, "weight": 100},
        fenced=True,
        expected={**START, "proven": True, "back_to": 50, "ended": False},
    ),
    case(
        "interrupted in the promotion",
        100,
        100,
        state="interrupted",
        done=[*DONE_100, "fence"],
        interrupted={"from": 50, "weight": 100},
        fenced=True,
        promoted_before=True,
        expected={**START, "proven": True, "promoted": False, "ended": False},
    ),
    case(
        "interrupted after the promotion",
        100,
        100,
        state="interrupted",
        done=PROMOTED,
        interrupted={"from": 50, "weight": 100},
        fenced=True,
        promoted_before=True,
        expected={**START, "proven": True, "promoted": True, "ended": False},
    ),
    case(
        "all is done",
        100,
        100,
        state="done",
        done=PROMOTED,
        fenced=True,
        promoted_before=True,
        expected={**AGAIN, "promoted": True, "ended": True, "back_to": 50},
    ),
    case(
        "all is done, and the fence is gone",
        100,
        100,
        state="done",
        done=PROMOTED,
        promoted_before=True,
        expected={**AGAIN, "promoted": True, "ended": False, "has_work": True},
    ),
    case(
        "a rollback started to undo the promotion",
        100,
        100,
        state="not started",
        fenced=True,
        promoted_before=True,
        expected={**RESUMED, "promoted": False, "needs_approval": True, "back_to": 50},
    ),
    case(
        "a rollback undid the promotion, and the weight is 0 again",
        100,
        0,
        state="not started",
        expected={**START, "came_from": 0, "back_to": 0, "needs_approval": True},
    ),
]


@pytest.mark.parametrize(("found", "expected"), CASES)
def test_what_a_run_starts_with(found: CanaryStep, expected):
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize("weight", [0, 7])
def test_what_is_not_a_step_is_refused(weight):
    with pytest.raises(Refused, match=f"{weight} is not a step of the canary; allowed: 5, 25, 50, 100"):
        step(weight, 0)


# A step that failed


def stop(weight=25, back_to=5, **more):
    known = {"promoted": False, "weight_was_set": True, "promotion_was_started": False, "cause": "too slow"}
    return canary_stop(weight=weight, back_to=back_to, **{**known, **more}).details


@pytest.mark.parametrize(
    ("details", "opens_fence", "lowers_weight", "said"),
    [
        (stop(weight_was_set=False), False, False, "no traffic was moved"),
        (stop(weight_now=25.0), False, True, "5 % of the traffic goes to the Task Service now"),
        # All traffic was sent to Laravel meanwhile, and stays there.
        (stop(weight_now=0.0), False, False, "0 % of the traffic goes to the Task Service now"),
        (stop(weight=100, back_to=50, weight_now=100.0), True, True, "50 % of the traffic goes"),
        (stop(weight=100, back_to=50, weight_was_set=False), True, False, "no traffic was moved"),
        (stop(weight=100, promotion_was_started=True), False, False, "-e weight=100 continues the promotion"),
        (stop(weight=100, promoted=True, weight_was_set=False), False, False, "-e weight=100 continues the promotion"),
        (stop(rollback_error="AWS is away"), False, True, "ansible-playbook status.yml shows where traffic is"),
    ],
)
def test_what_a_step_that_failed_rolls_back(details, opens_fence, lowers_weight, said):
    assert (details["opens_fence"], details["lowers_weight"]) == (opens_fence, lowers_weight)
    assert said in details["message"]
    assert details["message"].endswith("ansible-playbook rollback-2.4.yml sends all traffic to Laravel")


def test_a_failure_is_said_with_its_cause_and_that_of_its_rollback():
    said = "Phase 2.4 stopped at 25 %: too slow; then: 5 % of the traffic goes to the Task Service now, "
    assert stop(weight_now=25.0)["message"].startswith(said)
    both = "Phase 2.4 stopped at 25 %: too slow; the automatic rollback failed too: AWS is away; then: "
    assert stop(rollback_error="AWS is away")["message"].startswith(both)
