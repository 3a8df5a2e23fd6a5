"""Laravel's own flag: turned once, in force before the verb ends, and taken up where a run was cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from lab.gateway.aws import ecs, ssm
from lab.gateway.aws_emulator import AwsEmulator
from task_migration.errors import Failed, Refused
from task_migration.external.aws import Aws
from task_migration.external.retry import Backoff
from task_migration.traffic import flag_on_ec2, flag_on_ecs
from task_migration.traffic.laravel_flag import laravel_flag

PARAMETER, REGION = "/app/TASK_SERVICE_ENABLED", "ap-northeast-1"
ON_ECS = {"kind": "ecs", "parameter": PARAMETER, "cluster": "app", "service": "laravel", "timeout_seconds": 5}
ON_EC2 = {"kind": "ssm_command", "targets": {"app": "laravel"}, "directory": "/var/www/the app", "timeout_seconds": 5}


class Instances:
    """What EC2 instances do with a command's lines: each runs them in a folder of its own, with a php that notes how
    it was called, and is cut off where ``broken`` says."""

    def __init__(self, folder):
        self.folder, self.programs = folder, folder / "programs"
        self.programs.mkdir()
        self.broken = set()
        self._program("php", 'echo "php $* with ${TASK_SERVICE_ENABLED-nothing}" >> calls\ntest ! -e "broken $2"')
        self._program("runuser", 'echo "as $2" >> calls\nshift 3\nexec "$@"')
        self._program("systemctl", 'echo "systemctl $*" >> calls')

    def _program(self, name, text):
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def add(self, instance, env):
        (self.folder / instance / "the app").mkdir(parents=True)
        self.file(instance, ".env").write_text(env)

    def file(self, instance, name):
        return self.folder / instance / "the app" / name

    def calls(self, instance):
        calls = self.file(instance, "calls")
        return calls.read_text().splitlines() if calls.exists() else []

    def run(self, instance, lines):
        script = "\n".join(lines).replace("/var/www", str(self.folder / instance))
        environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator(on_instance=lambda instance, lines: RUNNING[-1].run(instance, lines)) as running:
        yield running


RUNNING = []


@pytest.fixture
def instances(tmp_path):
    RUNNING.append(Instances(tmp_path))
    yield RUNNING[-1]
    RUNNING.pop()


@pytest.fixture
def client(emulator, monkeypatch):
    """Clients of an AWS in which no parameter is yet, and where nobody waits longer than must be."""
    monkeypatch.setattr(ecs, "DEPLOYMENT_SECONDS", 0.15)
    monkeypatch.setattr(flag_on_ecs, "BACKOFF", Backoff(0.05, 10.0, factor=1.5))
    monkeypatch.setattr(flag_on_ec2, "PAUSE_SECONDS", 0.05)
    made = Aws(REGION, emulator.url).client
    yield made
    made("ssm").delete_parameters(Names=[PARAMETER])


@pytest.fixture
def turn(emulator):
    return partial(laravel_flag, aws=Aws(REGION, emulator.url))


# On ECS


class Service:
    """Laravel on ECS, two tasks, its parameter false."""

    def __init__(self, client):
        self.ssm, self.ecs = client("ssm"), client("ecs")
        self.ssm.put_parameter(Name=PARAMETER, Value="false", Type="String")
        self.ecs.create_cluster(clusterName="app")
        container = {"name": "laravel", "image": "laravel", "cpu": 1, "memory": 64}
        self.ecs.register_task_definition(family="laravel", containerDefinitions=[container])
        made = self.ecs.create_service(cluster="app", serviceName="laravel", desiredCount=2, taskDefinition="laravel")
        self.arn = made["service"]["serviceArn"]
        while self.primary["rolloutState"] != "COMPLETED":
            time.sleep(0.05)

    @property
    def value(self):
        return self.ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"]

    @property
    def primary(self):
        (service,) = self.ecs.describe_services(cluster="app", services=["laravel"])["services"]
        return next(one for one in service["deployments"] if one["status"] == "PRIMARY")

    def deployments(self, ending):
        self.ecs.tag_resource(resourceArn=self.arn, tags=[{"key": ecs.DEPLOYMENTS_TAG, "value": ending}])

    def deploy(self):
        self.ecs.update_service(cluster="app", service="laravel", forceNewDeployment=True)
        return self.primary["id"]


@pytest.fixture
def service(client):
    return Service(client)


def test_on_ecs_it_is_in_force_when_the_verb_ends_and_again_changes_nothing(service, turn):
    for state, value in (("on", "true"), ("off", "false"), ("on", "true")):
        before, heard = service.primary["id"], []
        turned = turn(state=state, laravel_flag=ON_ECS, listener=heard.append)
        assert turned.changed
        assert turned.details["lacking"] == [f"parameter {PARAMETER}", "new tasks of laravel"]
        assert service.value == value
        after = service.primary
        assert after["id"] != before
        assert (after["rolloutState"], after["runningCount"]) == ("COMPLETED", 2)
        assert heard
        again = turn(state=state, laravel_flag=ON_ECS)
        assert (again.changed, again.details["lacking"]) == (False, [])
        assert service.primary["id"] == after["id"]


def test_on_ecs_check_mode_predicts_and_touches_nothing(service, turn):
    before = service.primary
    predicted = turn(state="on", laravel_flag=ON_ECS, check=True)
    assert predicted.changed
    assert "would change: parameter" in predicted.message
    assert (service.value, service.primary) == ("false", before)
    assert not turn(state="off", laravel_flag=ON_ECS, check=True).changed


def test_on_ecs_a_run_that_was_cut_off_before_the_deployment_is_taken_up_there(service, turn):
    service.ssm.put_parameter(Name=PARAMETER, Value="true", Overwrite=True)
    before = service.primary["id"]
    assert turn(state="on", laravel_flag=ON_ECS, check=True).details["lacking"] == ["new tasks of laravel"]
    assert turn(state="on", laravel_flag=ON_ECS).changed
    assert service.primary["id"] != before


def test_on_ecs_a_deployment_that_takes_too_long_is_waited_for_again_and_not_begun_again(service, turn):
    service.deployments("hang")
    with pytest.raises(Failed, match=r"still deploying after 1 s; the parameter .* is true.*IN_PROGRESS"):
        turn(state="on", laravel_flag={**ON_ECS, "timeout_seconds": 1})
    begun = service.primary["id"]
    assert turn(state="on", laravel_flag=ON_ECS, listener=lambda _: service.deployments("complete")).changed
    assert service.primary["id"] == begun


def test_on_ecs_a_deployment_that_fails_is_said_at_once_with_where_to_look(service, turn):
    service.deployments("fail")
    with pytest.raises(Failed, match=r"the ECS deployment failed; the parameter .* is true") as failed:
        turn(state="on", laravel_flag=ON_ECS)
    assert "tasks failed to start" in failed.value.measured
    assert failed.value.next_step.startswith("aws ecs describe-services --cluster app --services laravel")
    assert "\n" not in str(failed.value)
    service.deployments("complete")
    assert turn(state="on", laravel_flag=ON_ECS).changed
    assert not turn(state="on", laravel_flag=ON_ECS).changed


def test_on_ecs_what_a_circuit_breaker_rolled_back_is_no_success_though_the_service_is_stable(service, turn):
    service.deployments("roll_back")
    with pytest.raises(Failed, match="the ECS deployment failed"):
        turn(state="on", laravel_flag=ON_ECS)
    assert service.primary["rolloutState"] == "COMPLETED"
    assert turn(state="on", laravel_flag=ON_ECS, check=True).details["lacking"] == ["new tasks of laravel"]


def test_on_ecs_a_deployment_of_somebody_else_is_no_success(service, turn):
    service.deployments("hang")
    with pytest.raises(Failed, match="another deployment replaced the one that was started"):
        turn(state="on", laravel_flag=ON_ECS, listener=lambda said: said.seconds > 0.2 and service.deploy())


def test_on_ecs_a_name_that_is_not_there_is_refused_before_anything_is_changed(service, turn):
    before = service.primary
    for wrong, said in (
        ({"parameter": "/app/NONE"}, "there is no parameter /app/NONE"),
        ({"service": "none"}, "there is no ECS service none in the cluster app"),
        ({"cluster": "none"}, "AWS has no resource of this name, so it cannot read the ECS service laravel"),
    ):
        with pytest.raises(Refused, match=said):
            turn(state="on", laravel_flag={**ON_ECS, **wrong})
    assert (service.value, service.primary) == ("false", before)


def test_on_ecs_a_secret_parameter_is_refused(service, turn):
    service.ssm.put_parameter(Name="/app/secret", Value="hunter2", Type="SecureString")
    with pytest.raises(Refused, match="is not a plain String; measured: type SecureString"):
        turn(state="on", laravel_flag={**ON_ECS, "parameter": "/app/secret"})


def test_on_ecs_a_service_that_another_tool_deploys_is_refused(service, turn):
    service.ecs.create_service(
        cluster="app", serviceName="external", desiredCount=1, deploymentController={"type": "EXTERNAL"}
    )
    with pytest.raises(Refused, match="measured: deploymentController EXTERNAL"):
        turn(state="on", laravel_flag={**ON_ECS, "service": "external"})
    assert service.value == "false"


# On EC2


@pytest.fixture
def two(client, instances):
    """Two instances that bear the tag and one that does not; their ids, in the order in which commands reach them."""
    ec2 = client("ec2")
    image = "ami-12c6146b"  # one that moto knows
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "laravel"}]}]
    made = ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, TagSpecifications=tags)["Instances"]
    other = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"]
    for one in (*made, *other):
        instances.add(one["InstanceId"], "APP_KEY=x\nTASK_SERVICE_ENABLED=false\nTASK_SERVICE_ENABLED_NOT=1\n")
    bearing = [one["InstanceId"] for one in made]
    yield bearing
    ec2.delete_tags(Resources=bearing, Tags=[{"Key": "app"}])


def test_on_ec2_every_instance_caches_it_tells_its_workers_and_keeps_it_and_again_changes_nothing(two, instances, turn):
    turned = turn(state="on", laravel_flag=ON_EC2)
    assert turned.details["lacking"] == sorted(two)
    for one in two:
        assert instances.calls(one) == [
            "php artisan config:cache with true",
            "php artisan queue:restart with nothing",
        ]
        kept = instances.file(one, ".env").read_text()
        assert kept == "APP_KEY=x\nTASK_SERVICE_ENABLED=true\nTASK_SERVICE_ENABLED_NOT=1\n"
    assert not turn(state="on", laravel_flag=ON_EC2).changed
    assert len(instances.calls(two[0])) == 2


def test_on_ec2_an_env_without_the_line_gets_one(two, instances, turn):
    for one in two:
        instances.file(one, ".env").write_text("APP_KEY=x")
    turn(state="on", laravel_flag={**ON_EC2, "user": "www-data", "reload": "php-fpm"})
    assert instances.file(two[0], ".env").read_text() == "APP_KEY=x\nTASK_SERVICE_ENABLED=true\n"
    assert instances.calls(two[0]) == [
        "as www-data",
        "php artisan config:cache with true",
        "as www-data",
        "php artisan queue:restart with nothing",
        "systemctl reload php-fpm",
    ]


def test_on_ec2_check_mode_predicts_and_touches_nothing(two, instances, turn, client):
    client("ssm").put_parameter(Name=PARAMETER, Value="false", Type="String")
    predicted = turn(state="on", laravel_flag={**ON_EC2, "parameter": PARAMETER}, check=True)
    assert predicted.details["lacking"] == [f"parameter {PARAMETER}", *sorted(two)]
    assert [instances.calls(one) for one in two] == [[], []]
    assert "=false" in instances.file(two[0], ".env").read_text()
    assert client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"] == "false"


def test_on_ec2_the_parameter_of_new_instances_keeps_in_step(two, turn, client):
    client("ssm").put_parameter(Name=PARAMETER, Value="false", Type="String")
    turn(state="on", laravel_flag={**ON_EC2, "parameter": PARAMETER})
    assert client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"] == "true"
    assert not turn(state="on", laravel_flag={**ON_EC2, "parameter": PARAMETER}).changed


@pytest.mark.parametrize("at", ["config:cache", "queue:restart"])
def test_on_ec2_an_instance_that_fails_is_named_and_taken_up_again(two, instances, turn, at):
    for one in two:
        instances.file(one, f"broken {at}").touch()
    with pytest.raises(Failed, match="Laravel's flag was not set on every instance") as failed:
        turn(state="on", laravel_flag=ON_EC2)
    assert "Failed" in failed.value.measured
    assert "Cancelled" in failed.value.measured
    assert failed.value.next_step.startswith("aws ssm list-command-invocations --details --command-id ")
    assert "\n" not in str(failed.value)
    for one in two:
        instances.file(one, f"broken {at}").unlink()
    assert turn(state="on", laravel_flag=ON_EC2).details["lacking"] == sorted(two)
    assert not turn(state="on", laravel_flag=ON_EC2).changed


def test_on_ec2_a_tag_that_no_instance_bears_is_refused(two, turn):
    with pytest.raises(Refused, match="no instance answered; the command is NoInstancesInTag"):
        turn(state="on", laravel_flag={**ON_EC2, "targets": {"app": "larval"}})


def test_on_ec2_a_directory_that_is_not_laravels_is_refused(two, instances, turn):
    for one in two:
        instances.file(one, ".env").unlink()
    with pytest.raises(Refused, match="cannot read Laravel's flag on the instances"):
        turn(state="on", laravel_flag=ON_EC2)
    assert [instances.calls(one) for one in two] == [[], []]


# By a command


def by(folder, **more):
    return {
        "kind": "command",
        "command": ["sh", "-c", 'printf "$TASK_SERVICE_ENABLED" > "$1"', "{value}", "flag"],
        "look": ["cat", "flag"],
        "directory": str(folder),
        **more,
    }


@pytest.fixture
def nowhere():
    """The flag of a Laravel for which AWS is not asked."""
    return partial(laravel_flag, aws=Aws(REGION))


def test_by_command_it_is_turned_and_again_changes_nothing(tmp_path, nowhere):
    (tmp_path / "flag").write_text("false")
    predicted = nowhere(state="on", laravel_flag=by(tmp_path), check=True)
    assert predicted.changed
    assert (tmp_path / "flag").read_text() == "false"
    for state, value in (("on", "true"), ("off", "false")):
        assert nowhere(state=state, laravel_flag=by(tmp_path)).changed
        assert (tmp_path / "flag").read_text() == value
        assert not nowhere(state=state, laravel_flag=by(tmp_path)).changed


def test_by_command_no_shell_reads_the_words(tmp_path, nowhere):
    settings = {"kind": "command", "command": ["touch", "{value}; touch other"], "directory": str(tmp_path)}
    turned = nowhere(state="on", laravel_flag=settings)
    assert [file.name for file in tmp_path.iterdir()] == ["true; touch other"]
    assert "it is not known whether this is needed" in turned.message


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"command": ["sh", "-c", "cat secret; exit 3"]}, Failed, "exit code 3.*next: to see its output: cd "),
        ({"command": ["sleep", "60"], "timeout_seconds": 1}, Failed, "still running after 1 s, so it was killed"),
        ({"command": ["no-such-program"]}, Failed, "FileNotFoundError: No such file or directory"),
        ({"command": ["true"]}, Failed, "the command succeeded, but Laravel's flag did not change"),
        ({"look": ["echo", "maybe"]}, Refused, "it printed neither true nor false"),
        ({"look": ["cat", "none"]}, Refused, "cannot read Laravel's flag; measured: cat none: exit code 1"),
    ],
)
def test_by_command_what_goes_wrong_is_one_line(tmp_path, nowhere, more, kind, said):
    (tmp_path / "flag").write_text("false")
    (tmp_path / "secret").write_text("hunter2")
    with pytest.raises(kind, match=said) as raised:
        nowhere(state="on", laravel_flag=by(tmp_path, **more))
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_by_command_a_child_that_is_left_behind_holds_nothing_up(tmp_path, nowhere):
    left = ["sh", "-c", "sleep 600 & echo $! > child; exit 0"]
    began = time.monotonic()
    nowhere(state="on", laravel_flag={"kind": "command", "command": left, "directory": str(tmp_path)})
    assert time.monotonic() - began < 60
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


# Settings


@pytest.mark.parametrize("settings", [{}, {"kind": "none"}])
def test_a_laravel_without_a_flag_is_left_alone_and_that_is_said(settings, nowhere):
    done = nowhere(state="on", laravel_flag=settings)
    assert (done.changed, done.details) == (False, {"kind": "none"})
    assert "nothing to do" in done.message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "esc"}, "measured: kind esc; allowed: kind none, ecs, ssm_command, command"),
        ({"parameter": "/app/T"}, "measured: no kind"),
        ({"kind": "ecs", "parameter": "/app/T", "cluster": "app"}, "of kind ecs has no key service"),
        ({**ON_ECS, "time_seconds": 3}, r"has an unknown key time_seconds; did you mean timeout_seconds\?"),
        ({**ON_ECS, "service": ""}, "not valid: service='';"),
        ({**ON_ECS, "timeout_seconds": "soon"}, "not valid: timeout_seconds='soon'; allowed: seconds from 1 to 7,200"),
        ({**ON_EC2, "targets": "app=laravel"}, "not valid: targets='app=laravel'; allowed: a mapping"),
        ({"kind": "command", "command": "php artisan"}, "allowed: a list of words"),
        ({"kind": "command", "command": []}, "allowed: a list of words"),
    ],
)
def test_settings_that_can_not_be_meant_are_refused_before_anything_is_asked(settings, said, nowhere):
    with pytest.raises(Refused, match=said):
        nowhere(state="on", laravel_flag=settings)


# The emulator as a program


def test_the_emulator_listens_on_loopback_until_it_is_told_to_end():
    command = [sys.executable, "-m", "lab.gateway.aws_emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            sns = Aws(REGION, url).client("sns")
            assert sns.create_topic(Name="alerts")["TopicArn"]
        finally:
            process.terminate()
        assert process.wait(10) == 0


def test_the_emulator_refuses_a_port_that_is_taken(emulator):
    with pytest.raises(Refused, match="is in use"):
        AwsEmulator(int(emulator.url.rpartition(":")[2])).start()


def test_the_emulator_runs_nothing_that_it_is_sent():
    assert ssm.run_nothing("i-1", ["touch /tmp/x"]) == (0, "")
    assert AwsEmulator()._on_instance is ssm.run_nothing
