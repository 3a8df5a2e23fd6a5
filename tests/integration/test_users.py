"""Users come to the lab's gateway and go: does it, again changes nothing, check mode predicts and touches nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from lab.down import down
from lab.load.ledger import read
from lab.locations import Locations
from lab.up import up
from lab.users import users
from task_migration.errors import Refused


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("lab"))
    up(lab_directory=directory)
    yield directory
    down(lab_directory=directory)


def traffic(lab):
    """The process ids of the users, and what each was started with."""
    found = {}
    for process in psutil.process_iter():
        try:
            words = process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
        except psutil.NoSuchProcess:  # it ended meanwhile
            continue
        if "lab.load.traffic" in words and any(lab in word for word in words):
            found[process.pid] = words
    return found


def test_users_come_and_go_and_again_changes_nothing(lab):
    assert users(lab_directory=lab, lab_users="on", lab_users_requests=50, check=True).changed
    assert not traffic(lab)
    came = users(lab_directory=lab, lab_users="on", lab_users_requests=50)
    (pid,) = traffic(lab)
    ledger = Path(came.details["ledger"])
    assert came.changed
    assert ledger.stat().st_size > 0
    assert not users(lab_directory=lab, lab_users="on", lab_users_requests=50).changed
    assert not users(lab_directory=lab, lab_users="on", lab_users_requests=50, check=True).changed
    assert list(traffic(lab)) == [pid]
    assert users(lab_directory=lab, lab_users="off", check=True).changed
    assert list(traffic(lab)) == [pid]
    went = users(lab_directory=lab, lab_users="off")
    assert went.changed
    assert not traffic(lab)
    requests = list(read(ledger))
    assert went.details["requests"] == went.details["answered by laravel"] == len(requests)
    assert went.details["failed requests"] == 0
    assert f"the traffic is stopped: {len(requests):,} requests, 0 failed" in went.message
    for check in (True, False):
        assert not users(lab_directory=lab, lab_users="off", check=check).changed


def test_another_rate_takes_the_place_of_the_first_and_keeps_its_ledger(lab):
    users(lab_directory=lab, lab_users="on", lab_users_requests=20)
    (first,) = traffic(lab)
    before = len(list(read(Path(users(lab_directory=lab, lab_users="on", lab_users_requests=20).details["ledger"]))))
    assert users(lab_directory=lab, lab_users="on", lab_users_requests=40).changed
    ((second, words),) = traffic(lab).items()
    assert (second != first, words[-1]) == (True, "40")
    assert users(lab_directory=lab, lab_users="off").details["requests"] > before


def test_killed_users_come_again_and_cut_no_line(lab):
    ledger = Path(users(lab_directory=lab, lab_users="on").details["ledger"])
    (pid,) = traffic(lab)
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert not users(lab_directory=lab, lab_users="off", check=True).changed
    assert users(lab_directory=lab, lab_users="on").changed
    users(lab_directory=lab, lab_users="off")
    assert all(request.outcome for request in read(ledger))


def test_nobody_comes_without_a_gateway(tmp_path):
    with pytest.raises(Refused, match=r"gateway is not running.*no gateway_port.*lab-up\.yml"):
        users(lab_directory=str(tmp_path / "lab"), lab_users="on")
    assert not users(lab_directory=str(tmp_path / "lab"), lab_users="off").changed
    assert not (tmp_path / "lab").exists()


def test_the_lab_goes_down_with_its_users(tmp_path):
    directory = str(tmp_path / "lab")
    up(lab_directory=directory)
    try:
        users(lab_directory=directory, lab_users="on")
        assert traffic(directory)
    finally:
        down(lab_directory=directory)
    assert not traffic(directory)
    assert not Locations(Path(directory)).directory.exists()
