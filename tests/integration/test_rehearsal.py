"""The driver of the rehearsals: what it types, how it judges, what it keeps, and what it leaves."""

from __future__ import annotations

import fcntl
import json

import pytest
from lab.rehearsal import journey, rehearsal
from lab.rehearsal.journey import Journey, JourneyFailed, JourneyStep
from lab.up import up
from task_migration.control import rehearsal_gate
from task_migration.errors import Failed, Refused

GREEN = {"requests": 9, "failed requests": 0, "acknowledged": 4, "lost": 0, "doubled": 0, "in conflict": 0}


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Stands for ansible-playbook: keeps what is typed, and answers by the first word."""
    program = tmp_path / "bin/ansible-playbook"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/typed\n[ -f {tmp_path}/$1 ] && . {tmp_path}/$1\n'
        'echo "localhost : ok=2 changed=0 failed=0"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def answers(playbook, script):
        (tmp_path / playbook).write_text(script)

    answers.all = lambda: (tmp_path / "typed").read_text().splitlines()
    answers.journey = Journey(tmp_path, ("-e", "place"), print_line=lambda _: None)
    return answers


def test_a_command_is_typed_with_the_lab_it_is_meant_for(typed):
    typed.journey.run(
        JourneyStep("the first", ("one.yml", "-e", "x=1")),
        JourneyStep("the second", ("two.yml",), changes_nothing=True),
    )
    assert typed.all() == ["one.yml -e x=1 -e place", "two.yml -e place"]


@pytest.mark.parametrize(
    ("script", "step", "wrong"),
    [
        ("exit 2", JourneyStep("", ("one.yml",)), "it exited with code 2"),
        ("echo changed=3; exit 0", JourneyStep("", ("one.yml",), changes_nothing=True), "it changed something"),
        ("exit 0", JourneyStep("", ("one.yml",), refused=True), "it was not refused"),
        ("echo Failed: no; exit 2", JourneyStep("", ("one.yml",), refused=True), "it was not refused"),
    ],
)
def test_what_does_not_go_as_it_must_ends_the_journey(typed, script, step, wrong):
    typed("one.yml", script)
    with pytest.raises(JourneyFailed, match=f"one.yml: {wrong}"):
        typed.journey.run(step, JourneyStep("never typed", ("two.yml",)))
    assert len(typed.all()) == 1


def test_what_must_be_refused_and_is_goes_on(typed):
    typed("one.yml", "echo 'failed: x: Refused, nothing was changed: no'; exit 2")
    typed.journey.run(JourneyStep("", ("one.yml",), refused=True))


def test_it_follows_what_status_says_until_nothing_is_left(typed, tmp_path):
    marker = tmp_path / "done"
    said = "    Next: ansible-playbook end.yml -e confirm=documents (open: The documents)"
    typed("status.yml", f"[ -f {marker} ] && echo 'Next: nothing is left to do' || echo '{said}'")
    typed("end.yml", f"touch {marker}")
    typed.journey.follow_next_steps(3)
    assert [line.split(" -e place")[0] for line in typed.all()] == [
        *("status.yml", "end.yml -e confirm=documents", "status.yml")
    ]
    marker.unlink()
    typed("end.yml", "")
    with pytest.raises(JourneyFailed, match="after 2 commands there is still a next one"):
        typed.journey.follow_next_steps(2)


def test_green_ones_are_kept_with_their_figures_and_take_turns_with_the_faults(tmp_path, monkeypatch):
    seen = []

    def run_journey(journey, kind, dump):
        seen.append((kind, dump))
        journey.results |= GREEN
        journey.print_line("a command")

    monkeypatch.setattr(rehearsal, "run_journey", run_journey)
    done = rehearsal.rehearsal(times=4, laravel_dump="dump", rehearsal_directory=str(tmp_path))
    faults = ["sync killed", "database restarted", "breach", "sync killed"]
    assert seen == [(kind, "dump" if number == 0 else "") for number, kind in enumerate(faults)]
    kept = [json.loads(line) for line in (tmp_path / rehearsal_gate.FILE).read_text().splitlines()]
    assert kept == done.details["rehearsals"]
    assert [(one["green"], one["fault"], one["figures"]) for one in kept] == [(True, kind, GREEN) for kind in faults]
    assert "4 green" in done.message


def test_the_first_red_one_ends_it_and_its_log_is_named(tmp_path, monkeypatch):
    def run_journey(journey, kind, dump):
        journey.print_line("a command")
        raise JourneyFailed("users: 1 lost") if kind != "sync killed" else OSError("no space")

    monkeypatch.setattr(rehearsal, "run_journey", run_journey)
    with pytest.raises(Failed, match=r"rehearsal 1 of 3, sync killed: red.*OSError: no space.*commands\.log") as failed:
        rehearsal.rehearsal(times=3, rehearsal_directory=str(tmp_path))
    (kept,) = [json.loads(line) for line in (tmp_path / rehearsal_gate.FILE).read_text().splitlines()]
    assert (kept["green"], kept["why"]) == (False, "OSError: no space")
    assert kept["log"] in str(failed.value)
    with open(kept["log"]) as log:
        assert log.read() == "a command\n\nred: OSError: no space\n"


def test_check_mode_and_a_second_run_beside_it_touch_nothing(tmp_path):
    folder = tmp_path / "rehearsals"
    assert rehearsal.rehearsal(times=3, rehearsal_directory=str(folder), check=True).changed
    assert not folder.exists()
    folder.mkdir()
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another run uses this rehearsal_directory"):
            rehearsal.rehearsal(rehearsal_directory=str(folder))
    assert not (folder / rehearsal_gate.FILE).exists()


def test_what_a_killed_run_left_is_taken_down_first_and_nothing_is_left_behind(tmp_path, monkeypatch):
    up(lab_directory=str(tmp_path / "lab"))
    there = []
    monkeypatch.setattr(rehearsal, "run_journey", lambda journey, kind, dump: there.append(journey.folder.exists()))
    rehearsal.rehearsal(rehearsal_directory=str(tmp_path))
    assert there == [False]
    assert not (tmp_path / "lab").exists()


def test_every_fault_has_its_way_on():
    assert rehearsal._WEIGHTS_AFTER_FAULT.keys() == rehearsal.FAULTS.keys()
    assert journey.canary(5)[0].command == ("phase-2.4-canary.yml", "-e", "weight=5")
