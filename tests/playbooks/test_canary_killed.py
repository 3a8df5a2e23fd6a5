"""Killed with kill -9 anywhere in a shift, a promotion or a way back: the same command goes on, nobody notices."""

from __future__ import annotations

import os
import re
import signal

from task_migration.runtime import health_endpoint

from .conftest import FORCED, QUICK

BACK = ("rollback-2.4.yml", *QUICK)
HOME, PROMOTED = ("laravel", None), ("task_service", None)
# What a command says when a step has ended.
WEIGHT = "changed: Send a share of the traffic to the Task Service"
FENCE = "changed: Fence Laravel's task tables"
DRAIN = ": Drain the change log"
PROMOTION = "changed: Promote the Task Service"
UNFENCE = "changed: Remove the fence from Laravel's task tables"
HOMEWARDS = "changed: Send all traffic to Laravel"


def killed(lab, *words, at, leaves):
    """Kills a command at a line that it says, or at so many-th call of UpdateStage, and looks where traffic is then."""
    ran = lab.kill_at_call(*words, number=at) if isinstance(at, int) else lab.kill(*words, at=at)
    assert ran.code == -signal.SIGKILL, ran.said
    assert lab.traffic() == leaves, ran.said


def is_fenced(lab):
    return lab.rows("SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname ~ 'fence' AND tgenabled <> 'D')") == [(True,)]


def test_a_shift_goes_on_and_comes_to_its_end_though_both_syncs_are_killed_too(visited):
    words = visited.canary(5)
    killed(visited, *words, at=2, leaves=("laravel", 0.0))
    killed(visited, *words, at=WEIGHT, leaves=("laravel", 5.0))
    killed(visited, *words, at="baking at 5 %", leaves=("laravel", 5.0))
    pids = [health_endpoint.ask(port)["pid"] for port in visited.health_ports]

    def kill_syncs():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    ran = visited.listen(*words, "-e", "canary_bake_seconds=3", at="baking at 5 %", act=kill_syncs)
    assert ran.code == 0, ran.said
    assert visited.traffic() == ("laravel", 5.0)
    assert "phase 2.4: under way" in ran.said
    assert [health_endpoint.ask(port)["pid"] for port in visited.health_ports] != pids


def test_a_forced_shift_that_was_killed_falls_back_to_where_it_came_from(visited):
    visited.must(*BACK)
    words = visited.canary(25, *FORCED)
    killed(visited, *words, at=WEIGHT, leaves=("laravel", 25.0))
    killed(visited, *words, at="baking at 25 %", leaves=("laravel", 25.0))
    ran = visited.type(*words, "-e", "canary_p95_ms=1")
    assert ran.code != 0, ran.said
    assert visited.traffic() == HOME


def test_a_promotion_goes_on_and_from_its_middle_the_way_back_does_too(visited):
    words = visited.canary(100, *FORCED)
    killed(visited, *words, "-e", "canary_quiet_seconds=3", at="quiet for", leaves=("laravel", 100.0))
    assert not is_fenced(visited)
    killed(visited, *words, at=FENCE, leaves=("laravel", 100.0))
    assert is_fenced(visited)
    killed(visited, *words, at=DRAIN, leaves=("laravel", 100.0))
    killed(visited, *words, at=2, leaves=("task_service", 100.0))
    killed(visited, *BACK, at=UNFENCE, leaves=("task_service", 100.0))
    assert not is_fenced(visited)
    killed(visited, *BACK, at=2, leaves=("laravel", 100.0))
    killed(visited, *BACK, at=HOMEWARDS, leaves=HOME)
    visited.must(*BACK)
    assert visited.traffic() == HOME


def test_a_promotion_comes_to_its_end_and_is_written_down(visited):
    words = visited.canary(100, *FORCED)
    killed(visited, *words, at=5, leaves=("task_service", 0.0))
    killed(visited, *words, at=PROMOTION, leaves=PROMOTED)
    ran = visited.must(*words)
    assert visited.traffic() == PROMOTED
    assert is_fenced(visited)
    assert "phase 2.4: done" in ran.said
    assert visited.must(*words).changed == 0


def test_users_noticed_nothing(visited):
    visited.must(*BACK)
    left = visited.must("lab-users.yml", "-e", "lab_users=off").said
    assert re.search(r"requests, 0 failed", left), left
    assert "0 lost, 0 doubled, 0 resurrected" in left, left
    visited.must("phase-2.2-verify.yml", "-e", "rollback_test=false")
