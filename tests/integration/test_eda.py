"""The canary's alarm, posted to a real ansible-rulebook, runs the rollback once; whatever else comes runs nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import httpx
import pytest
from lab.servers.postgres_server import free_port

BIN = os.path.dirname(sys.executable)
TOKEN = "open-sesame"
CLOUDWATCH = {"AlarmName": "canary", "NewStateValue": "ALARM", "NewStateReason": "{{ lookup('pipe', 'exit 1') }}"}
ALERTMANAGER = {"status": "firing", "commonLabels": {"alertname": "canary"}, "alerts": [{"status": "firing"}]}

# Checks what it was given as the rollback does, then leaves a file for each time that it ran.
ROLLBACK = """
- name: Stands in for the rollback
  hosts: runner
  connection: local
  gather_facts: false
  tasks:
    - name: Check the command line and the inventory
      ansible.builtin.import_role:
        name: guard
        tasks_from: check_inputs
      vars: {guard_playbook: rollback-2.4}
    - name: Leave a file
      ansible.builtin.copy:
        dest: "{{ lab_directory }}/ran-{{ lookup('pipe', 'date +%s%N') }}"
        content: "{{ ansible_eda | to_json }}"
        mode: "0600"
"""

needs_rulebook = pytest.mark.skipif(
    not (shutil.which("ansible-rulebook", path=BIN) and shutil.which("java")),
    reason="needs Java 17 and ansible-rulebook: pip install -e '.[eda]'",
)


@pytest.fixture
def copied(project, tmp_path):
    """The project as the rulebook sees it, with a stand-in for the rollback and for the lab's addresses."""
    folder = tmp_path / "project"
    for part in ("extensions", "inventories"):
        shutil.copytree(project / part, folder / part)
    shutil.copy(project / "ansible.cfg", folder)
    (folder / "roles").symlink_to(project / "roles")
    (folder / "playbooks").mkdir()
    (folder / "playbooks/rollback-2.4.yml").write_text(ROLLBACK)
    (folder / ".lab").mkdir()
    addresses = dict.fromkeys(("laravel_dsn", "task_service_dsn"), "host=127.0.0.1 dbname=none")
    (folder / ".lab/endpoints.json").write_text(json.dumps(addresses))
    return folder


@pytest.fixture
def settings(tmp_path):
    """What ``listen`` is given: a file of mode 0600."""
    file = tmp_path / "listen.yml"
    file.write_text(f"webhook_port: {free_port()}\nwebhook_token: {TOKEN}\ncanary_alarm: canary\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def post(copied, settings, tmp_path):
    """Posts an event to a listener that is up, and gives the HTTP status; the listener ends with the test."""
    url = f"http://127.0.0.1:{settings.read_text().split()[1]}/alarm"
    command = [copied / "extensions/eda/listen", copied / "inventories/local", settings]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    with (tmp_path / "said").open("w+") as said:
        listener = subprocess.Popen(
            command, stdout=said, stderr=said, cwd=tmp_path, env=environment, start_new_session=True
        )
        try:
            until(lambda: listener.poll() is not None or answers(url), "the listener answers")
            assert listener.poll() is None, (tmp_path / "said").read_text()
            yield lambda event, token=TOKEN: send(url, event, token).status_code
            listener.terminate()
            assert listener.wait(20) in (0, 128 + signal.SIGTERM), "told to end, it ends; Java has a code of its own"
            assert not answers(url)
        finally:
            if listener.poll() is None:
                os.killpg(listener.pid, signal.SIGKILL)
                listener.wait()


@pytest.fixture
def ran(copied):
    """What each run of the rollback was handed over, in their order."""
    return lambda: [json.loads(file.read_text() or "{}") for file in sorted((copied / ".lab").glob("ran-*"))]


def send(url, event, token):
    return httpx.post(url, json=event, headers={"authorization": f"Bearer {token}"})


def answers(url):
    try:
        return httpx.get(url).status_code > 0
    except httpx.TransportError:
        return False


def until(condition, what, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


@needs_rulebook
def test_only_the_canarys_alarm_runs_the_rollback_and_only_once(post, ran):
    assert post(CLOUDWATCH, token="guessed") == 401
    for harmless in (
        {**CLOUDWATCH, "NewStateValue": "OK"},
        {**CLOUDWATCH, "NewStateValue": "INSUFFICIENT_DATA"},
        {**CLOUDWATCH, "AlarmName": "another"},
        {**ALERTMANAGER, "status": "resolved"},
        {"rollback": "phase-2.4"},
        ["nothing that is known"],
        "text",
    ):
        assert post(harmless) == 200
    time.sleep(3)  # longer than a run takes to leave its file
    assert not ran()

    assert [post(event) for event in (CLOUDWATCH, CLOUDWATCH, ALERTMANAGER)] == [200, 200, 200]
    until(ran, "the rollback ran")
    time.sleep(3)
    assert len(ran()) == 1
    assert ran()[0]["event"]["rollback"] == "phase-2.4"
    assert not {"payload", "headers"} & ran()[0]["event"].keys(), "the playbook sees nothing of what was posted"


@needs_rulebook
def test_alertmanager_is_understood_and_a_failed_rollback_ends_nothing(post, copied, tmp_path):
    (copied / ".lab/endpoints.json").unlink()
    assert post(ALERTMANAGER) == 200
    until(lambda: "action.run_playbook - ERROR" in (tmp_path / "said").read_text(), "the rollback fails")
    assert "the lab is down; next: ansible-playbook lab-up.yml" in (tmp_path / "said").read_text()
    assert post({**ALERTMANAGER, "status": "resolved"}) == 200
    assert not list(tmp_path.glob("eda*")), "what ansible-rulebook copied is gone"


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o644, None, "next: chmod 600"),
        (0o600, "webhook_port: 1\nwebhook_token:\ncanary_alarm: canary\n", "has no webhook_token"),
    ],
)
def test_settings_that_would_fail_at_night_are_refused_before_it_listens(copied, settings, mode, text, said):
    settings.write_text(text or settings.read_text())
    settings.chmod(mode)
    command = [copied / "extensions/eda/listen", copied / "inventories/local", settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert TOKEN not in done.stderr
    assert not done.stdout


def test_the_inventory_is_always_typed(copied):
    done = subprocess.run([copied / "extensions/eda/listen"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Type: ./extensions/eda/listen INVENTORY SETTINGS")
