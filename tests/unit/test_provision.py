"""The driver of Terraform against a stand-in on the PATH: what it is told, and what is made of its answers."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from task_migration.errors import Failed, Refused
from task_migration.external import terraform
from task_migration.prepare.provision import provision

STAND_IN = f"""#!{sys.executable}
import json, os, pathlib, subprocess, sys, time
here = pathlib.Path(__file__).parent
verb = sys.argv[1]
log = here / "log.json"
said = json.loads(log.read_text()) if log.exists() else []
values = [argument.split("=", 1)[1] for argument in sys.argv if argument.startswith("-var-file=")]
said.append({{
    "arguments": sys.argv[1:], "data": os.environ.get("TF_DATA_DIR"), "automation": os.environ.get("TF_IN_AUTOMATION"),
    "extra": os.environ.get("TF_CLI_ARGS_apply"), "configuration": os.environ.get("TF_CLI_CONFIG_FILE"),
    "values": [open(name).read() for name in values], "modes": [os.stat(name).st_mode & 0o777 for name in values],
}})
log.write_text(json.dumps(said))
scene = json.loads((here / "scene.json").read_text())
if verb == "init":
    modules = pathlib.Path(os.environ["TF_DATA_DIR"]) / "modules"
    modules.mkdir(parents=True, exist_ok=True)
    told = [{{"Key": key}} for key in scene.get("modules", ["", "task_service_rds"])]
    (modules / "modules.json").write_text(json.dumps({{"Modules": told}}))
name = " ".join(sys.argv[1:3]) if verb == "state" else verb
answers = scene.get(name, [{{}}])
turn = sum(entry["arguments"][0] == verb for entry in said) - 1
answer = answers[min(turn, len(answers) - 1)]
if "leaves" in answer:
    left = subprocess.Popen(["sleep", str(answer["leaves"])])
    (here / "left").write_text(str(left.pid))
for line in answer.get("out", []):
    print(line if isinstance(line, str) else json.dumps(line), flush=True)
print(answer.get("err", ""), end="", file=sys.stderr)
time.sleep(answer.get("sleep", 0))
sys.exit(answer.get("code", 0))
"""

DATABASE = "module.task_service_rds.aws_db_instance.this"
VERSION = [{"out": ['{"terraform_version": "1.11.4"}']}]


def change(action, address=DATABASE):
    return {"type": "planned_change", "change": {"resource": {"addr": address}, "action": action}}


def wrong(summary, detail=""):
    return {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": summary, "detail": detail}}


CREATE = {"out": [change("create")], "code": 2}
DELETE = {"out": [change("delete")], "code": 2}
NOTHING = {"code": 0}
THERE = {"out": [DATABASE]}
OUTPUTS = {
    "out": [
        {
            "address": {"value": "db.example", "sensitive": False},
            "port": {"value": 5432, "sensitive": False},
            "token": {"value": "hunter2", "sensitive": True},
        }
    ]
}


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = folder / "environment"
        self.environment.mkdir()
        (self.environment / "main.tf").write_text("")
        program = folder / "terraform"
        program.write_text(STAND_IN)
        program.chmod(0o755)

    def play(self, **scene):
        scene = {name.replace("_", " "): answers for name, answers in scene.items()}
        (self.folder / "scene.json").write_text(json.dumps({"version": VERSION, "output": [OUTPUTS], **scene}))
        (self.folder / "log.json").unlink(missing_ok=True)

    def provision(self, **options):
        return provision(terraform_directory=str(self.environment), **options)

    @property
    def log(self):
        file = self.folder / "log.json"
        return json.loads(file.read_text()) if file.exists() else []

    @property
    def verbs(self):
        verbs = [entry["arguments"][0] for entry in self.log]
        return [verb for verb in verbs if verb not in ("version", "init", "state", "output")]

    def arguments(self, verb, turn=0):
        return [entry["arguments"] for entry in self.log if entry["arguments"][0] == verb][turn]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("TF_DATA_DIR", raising=False)
    return Stage(tmp_path)


def test_it_applies_the_target_and_then_nothing_is_left_to_do(stage):
    stage.play(plan=[CREATE, CREATE, NOTHING], state_list=[THERE])
    outcome = stage.provision(terraform_variables={"a": 1})
    assert outcome.changed
    assert outcome.message == f"Terraform: created {DATABASE} at db.example:5432"
    assert stage.verbs == ["plan", "plan", "apply", "plan"]
    assert "-target=module.task_service_rds" not in stage.arguments("plan", 0)
    assert "-target=module.task_service_rds" in stage.arguments("plan", 1)
    assert "-auto-approve=true" in stage.arguments("apply")
    assert stage.arguments("apply")[-1].endswith("/plan")


def test_what_the_target_did_not_bring_back_is_applied_too(stage):
    dependent = {"out": [change("create", "module.alarms.aws_cloudwatch_metric_alarm.this")], "code": 2}
    stage.play(plan=[CREATE, CREATE, dependent], state_list=[THERE])
    stage.provision()
    assert stage.verbs == ["plan", "plan", "apply", "plan", "apply"]


def test_an_empty_plan_changes_nothing(stage):
    stage.play(plan=[NOTHING], state_list=[THERE])
    outcome = stage.provision()
    assert not outcome.changed
    assert stage.verbs == ["plan"]


def test_check_mode_plans_without_a_lock_and_leaves_no_file(stage):
    stage.play(plan=[CREATE], state_list=[{"err": "No state file was found!", "code": 1}])
    outcome = stage.provision(check=True)
    assert outcome.changed
    assert outcome.details == {"outputs": {}, "actions": {DATABASE: "create"}}
    assert stage.verbs == ["plan"]
    assert "-lock=false" in stage.arguments("plan")
    assert "-lockfile=readonly" in stage.arguments("init")
    assert [path.name for path in stage.environment.iterdir()] == ["main.tf"]
    assert not any(Path(entry["data"]).exists() for entry in stage.log if entry["data"])


def test_absent_is_refused_where_nothing_may_be_destroyed_before_terraform_is_even_asked(stage):
    stage.play()
    for check in (True, False):
        with pytest.raises(Refused, match="allow_destroy=false"):
            stage.provision(state="absent", check=check)
    assert stage.log == []


def test_absent_destroys_the_target_alone(stage):
    stage.play(plan=[DELETE], state_list=[THERE, {}])
    outcome = stage.provision(state="absent", allow_destroy=True)
    assert outcome.changed
    assert stage.verbs == ["plan", "destroy"]
    assert {"-destroy", "-target=module.task_service_rds"} <= set(stage.arguments("plan"))
    arguments = stage.arguments("destroy")
    assert "-target=module.task_service_rds" in arguments
    assert "-auto-approve" in arguments
    assert not any(argument.startswith("-force") for argument in arguments)


@pytest.mark.parametrize(
    "state", [{"err": "No state file was found!", "code": 1}, {}, {"out": ["module.other.x.this"]}]
)
def test_absent_without_a_database_in_the_state_does_nothing_whatever_the_outputs_say(stage, state):
    stage.play(state_list=[state])
    assert not stage.provision(state="absent", allow_destroy=True).changed
    assert stage.verbs == []


def test_absent_in_check_mode_destroys_nothing(stage):
    stage.play(plan=[DELETE], state_list=[THERE])
    outcome = stage.provision(state="absent", allow_destroy=True, check=True)
    assert outcome.changed
    assert outcome.details["actions"] == {DATABASE: "delete"}
    assert stage.verbs == ["plan"]
    assert "-lock=false" in stage.arguments("plan")


@pytest.mark.parametrize("check", [True, False])
def test_absent_is_refused_where_terraform_itself_may_not_destroy_before_anything_is_touched(stage, check):
    prevented = {"out": [wrong("Instance cannot be destroyed", "terraform_data.stays has prevent_destroy")], "code": 1}
    stage.play(plan=[prevented], state_list=[THERE])
    with pytest.raises(Refused, match=r"terraform_data\.stays has prevent_destroy"):
        stage.provision(state="absent", allow_destroy=True, check=check)
    assert stage.verbs == ["plan"]


def test_a_destruction_that_left_something_is_a_failure(stage):
    stage.play(plan=[DELETE], state_list=[THERE, THERE])
    with pytest.raises(Failed, match=f"still in its state.*{DATABASE}"):
        stage.provision(state="absent", allow_destroy=True)


@pytest.mark.parametrize("action", ["replace", "delete"])
def test_a_plan_that_destroys_is_refused_where_nothing_may_be_destroyed(stage, action):
    stage.play(plan=[{"out": [change(action)], "code": 2}], state_list=[THERE])
    with pytest.raises(Refused, match=rf"would destroy resources.*{DATABASE} \({action}\).*terraform untaint"):
        stage.provision()
    assert stage.verbs == ["plan"]


def test_what_is_temporary_goes_where_nothing_else_may(stage):
    rules = [change("delete", f'aws_vpc_security_group_ingress_rule.temporary["{name}"]') for name in "ab"]
    stage.play(plan=[{"out": rules, "code": 2}], state_list=[THERE])
    assert stage.provision().changed
    assert stage.verbs == ["plan", "plan", "apply"]


@pytest.mark.parametrize(
    "address", ["x.temporary_rule", "module.temporary.x.this", 'x.this["temporary"]', "x.nottemporary"]
)
def test_what_is_only_called_alike_does_not_go(stage, address):
    stage.play(plan=[{"out": [change("delete", address)], "code": 2}], state_list=[THERE])
    with pytest.raises(Refused, match="would destroy resources"):
        stage.provision()


def test_a_tainted_database_is_made_anew_where_destruction_is_allowed(stage):
    replace = {"out": [change("replace")], "code": 2}
    stage.play(plan=[replace, replace, NOTHING], state_list=[THERE])
    assert stage.provision(allow_destroy=True).message.startswith(f"Terraform: replaced {DATABASE}")


def test_a_target_that_is_not_in_the_environment_is_refused(stage):
    stage.play(modules=["", "task_service_rsd"])
    with pytest.raises(Refused, match=r"no module task_service_rds; modules there: task_service_rsd"):
        stage.provision()
    assert stage.verbs == []


def test_a_success_without_a_database_is_a_failure(stage):
    stage.play(plan=[CREATE, CREATE, NOTHING], state_list=[{}])
    with pytest.raises(Failed, match="not in its state"):
        stage.provision()


def test_sensitive_outputs_are_not_told(stage):
    stage.play(plan=[NOTHING], state_list=[THERE])
    assert stage.provision().details["outputs"] == {"address": "db.example", "port": 5432}


def test_values_go_by_a_file_that_nobody_else_reads_and_that_is_deleted(stage):
    stage.play(plan=[CREATE, CREATE, NOTHING], state_list=[THERE])
    stage.provision(terraform_variables={"token": "hunter2", "count": 3})
    planned = [entry for entry in stage.log if entry["arguments"][0] == "plan"]
    assert all(json.loads(entry["values"][0]) == {"token": "hunter2", "count": 3} for entry in planned)
    assert all(entry["modes"] == [stat.S_IRUSR | stat.S_IWUSR] for entry in planned)
    assert "hunter2" not in json.dumps([entry["arguments"] for entry in stage.log])
    for entry in planned:
        name = next(argument for argument in entry["arguments"] if argument.startswith("-var-file="))
        assert not Path(name.split("=", 1)[1]).exists()


def test_the_state_of_a_local_backend_and_terraforms_folder_stand_together(stage, tmp_path):
    stage.play(plan=[NOTHING], state_list=[THERE])
    stage.provision(terraform_backend={"path": str(tmp_path / "lab/terraform/terraform.tfstate")})
    assert f"-backend-config=path={tmp_path}/lab/terraform/terraform.tfstate" in stage.arguments("init")
    assert {entry["data"] for entry in stage.log if entry["data"]} == {f"{tmp_path}/lab/terraform/data"}


def test_an_operators_own_terraform_settings_do_not_leak_in(stage, monkeypatch):
    monkeypatch.setenv("TF_CLI_ARGS_apply", "-parallelism=1")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", "/does/not/exist")
    stage.play(plan=[CREATE, CREATE, NOTHING], state_list=[THERE])
    stage.provision()
    applied = next(entry for entry in stage.log if entry["arguments"][0] == "apply")
    assert applied["extra"] is None
    assert applied["automation"] == "1"
    assert applied["configuration"] != "/does/not/exist"


def test_a_failing_apply_is_told_in_terraforms_words_on_one_line(stage):
    failing = {"out": [wrong("creating RDS DB Instance", "InsufficientDBInstanceCapacity:\n\nno capacity")], "code": 1}
    stage.play(plan=[CREATE], apply=[failing])
    with pytest.raises(Failed, match="creating RDS DB Instance: InsufficientDBInstanceCapacity: no capacity") as caught:
        stage.provision()
    assert "\n" not in str(caught.value)


def test_a_failing_plan_changed_nothing(stage):
    stage.play(plan=[{"out": [wrong("Invalid value for variable", "port: a whole number")], "code": 1}])
    with pytest.raises(Refused, match="Invalid value for variable: port: a whole number"):
        stage.provision()


def test_a_plain_text_error_is_told_without_its_box(stage):
    stage.play(init=[{"err": "\x1b[31m╷\n│ Error: Failed to get existing workspaces\n╵\n", "code": 1}])
    with pytest.raises(Refused, match="measured: Error: Failed to get existing workspaces;"):
        stage.provision()


@pytest.mark.parametrize("verb", ["plan", "destroy"])
def test_a_lock_says_who_holds_it_since_when_and_what_to_type(stage, verb):
    detail = (
        "Error message: resource temporarily unavailable\nLock Info:\n  ID:        0d2a-11\n  Path:      x.tfstate\n"
        "  Operation: OperationTypeApply\n  Who:       anna@runner\n  Version:   1.11.4\n"
        "  Created:   2026-11-24 01:00:00 UTC\n  Info:      \n\n"
    )
    locked = {"out": [wrong("Error acquiring the state lock", detail)], "code": 1}
    stage.play(plan=[locked], destroy=[locked], state_list=[THERE])
    expected = (
        r"by anna@runner, for OperationTypeApply, since 2026-11-24 01:00:00 UTC; .*"
        rf"terraform -chdir={stage.environment} force-unlock 0d2a-11"
    )
    with pytest.raises(Refused, match=expected):
        stage.provision(state="present" if verb == "plan" else "absent", allow_destroy=True)


def test_a_missing_terraform_is_refused(stage, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(Refused, match=r"not installed.*next: install Terraform 1\.10 or newer"):
        stage.provision()


@pytest.mark.parametrize("version", ["1.9.8", "0.15.5"])
def test_an_old_terraform_is_refused(stage, version):
    stage.play(version=[{"out": [json.dumps({"terraform_version": version})]}])
    with pytest.raises(Refused, match=rf"too old; measured: {version}; allowed: 1\.10 or newer"):
        stage.provision()
    assert stage.verbs == []


def test_something_else_called_terraform_is_refused(stage):
    stage.play(version=[{"out": ["hello"]}])
    with pytest.raises(Refused, match="version cannot be read"):
        stage.provision()


def test_a_folder_without_terraform_files_is_refused(stage):
    (stage.environment / "main.tf").unlink()
    with pytest.raises(Refused, match=r"no \*\.tf file in .*correct terraform_directory"):
        stage.provision()


def test_an_endless_terraform_is_stopped_and_told(stage, monkeypatch):
    monkeypatch.setattr(terraform.Terraform.__init__, "__defaults__", (terraform.progress.no_listener, 1.0))
    stage.play(plan=[CREATE], apply=[{"sleep": 600}])
    began = time.monotonic()
    with pytest.raises(Failed, match=r"took too long and was stopped; measured: \d+ s; allowed: 1 s"):
        stage.provision()
    assert time.monotonic() - began < terraform.GRACE_SECONDS


def test_terraform_is_stopped_in_a_background_job_which_ignores_sigint(stage, monkeypatch):
    monkeypatch.setattr(terraform.Terraform.__init__, "__defaults__", (terraform.progress.no_listener, 1.0))
    stage.play(plan=[CREATE], apply=[{"sleep": 600}])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    began = time.monotonic()
    try:
        with pytest.raises(Failed, match="took too long and was stopped"):
            stage.provision()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < terraform.GRACE_SECONDS


class Stubborn:
    """A process that ends when it was waited for so many times, and hears the interrupt of that number."""

    def __init__(self, waits=10**9, hears=10**9):
        self.left = waits
        self.hears = hears
        self.signals = []
        self.heard = threading.Event()

    def send_signal(self, number):
        self.signals.append(number)
        if len(self.signals) == self.hears:
            self.heard.set()

    def kill(self):
        self.signals.append(signal.SIGKILL)
        self.left = 0

    def wait(self, seconds=None):
        if not self.left:
            return
        self.left -= 1
        raise subprocess.TimeoutExpired("terraform", seconds)


def test_an_interrupt_that_is_lost_is_sent_again_until_it_is_heard():
    process = Stubborn(waits=5, hears=3)
    terraform.stop(process, process.heard)
    assert process.signals == [signal.SIGTERM] * 3  # one more would make Terraform give its state up


def test_that_it_heard_is_what_terraform_itself_says():
    said = "\nInterrupt received.\nPlease wait for Terraform to exit or data loss may occur.\n"
    heard = terraform._Heard("apply", 0, terraform.progress.no_listener)
    heard.line(json.dumps({"type": "provision_progress", "@message": said, "hook": {}}))
    assert not heard.interrupted.is_set()
    heard.line(json.dumps({"type": "log", "@message": said}))
    assert heard.interrupted.is_set()


def test_a_terraform_that_hears_nothing_is_killed(monkeypatch):
    monkeypatch.setattr(terraform, "GRACE_SECONDS", 0.05)
    process = Stubborn()
    terraform.stop(process, process.heard)
    assert set(process.signals[:-1]) == {signal.SIGTERM}
    assert process.signals[-1] == signal.SIGKILL


def test_a_program_that_terraform_left_behind_is_not_waited_for(stage, monkeypatch):
    monkeypatch.setattr(terraform, "LAST_WORDS_SECONDS", 0.2)
    stage.play(plan=[NOTHING | {"leaves": 600}], state_list=[THERE])
    try:
        assert not stage.provision().changed
        assert psutil.pid_exists(int((stage.folder / "left").read_text()))
    finally:
        os.kill(int((stage.folder / "left").read_text()), signal.SIGKILL)


def test_progress_counts_resources_as_they_are_made(stage):
    heard = []
    hook = {"hook": {"resource": {"addr": DATABASE}}}
    lines = [
        change("create"),
        {"type": "apply_start", "@message": f"{DATABASE}: Creating...", **hook},
        {"type": "provision_progress", "@message": "a program's own words", **hook},
        {"type": "apply_complete", "@message": f"{DATABASE}: Creation complete after 9s", **hook},
        "a line that is not JSON",
    ]
    stage.play(plan=[CREATE, CREATE, NOTHING], apply=[{"out": lines}], state_list=[THERE])
    stage.provision(listener=heard.append)
    assert [(sign.done, sign.total, sign.unit) for sign in heard] == [(0, 1, "resource"), (1, 1, "resource")]
    assert heard[1].note == f"{DATABASE}: Creation complete after 9s"
