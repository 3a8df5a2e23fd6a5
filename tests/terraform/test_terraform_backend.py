"""The state in S3 and its lock, for real as far as an emulator goes, and the runbook's own driver on staging."""

from __future__ import annotations

import json
import sys

import boto3
import pytest
from lab.gateway.aws_emulator import AwsEmulator
from roots import VARIABLES, Root, Unsuccessful
from task_migration.errors import Refused
from task_migration.prepare.provision import provision

BUCKET = VARIABLES["state_bucket"]
KEY = "task-service/staging.tfstate"
LOCK = f"{KEY}.tflock"
ADDRESS = "module.task_service_rds.aws_db_instance.this"
HELD = json.dumps(
    {"ID": "0d2a", "Who": "anna@runner", "Operation": "OperationTypeApply", "Created": "2026-11-24T01:00:00Z"}
)
# What an emulator needs and AWS does not.
EMULATED = {"use_path_style": "true", "skip_credentials_validation": "true", "skip_requesting_account_id": "true"}

# Asks, in the middle of an apply, what is in the bucket.
LOOKS = f"""
resource "terraform_data" "this" {{
  provisioner "local-exec" {{
    command     = "import boto3, os; s3 = boto3.client('s3', endpoint_url=os.environ['AWS_ENDPOINT_URL_S3']); \\
print('KEYS', [one['Key'] for one in s3.list_objects_v2(Bucket='{BUCKET}').get('Contents', [])])"
    interpreter = ["{sys.executable}", "-c"]
  }}
}}
""".replace("\\\n", "")


@pytest.fixture(scope="module")
def emulator():
    with AwsEmulator() as running:
        yield running


@pytest.fixture
def bucket(emulator, monkeypatch):
    """An empty bucket, found by what the environment says."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": emulator.url,
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_REGION": "ap-northeast-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CHECKPOINT_DISABLE": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3", endpoint_url=emulator.url, region_name="ap-northeast-1").Bucket(BUCKET)
    bucket.create(CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    yield bucket
    bucket.objects.delete()
    bucket.delete()


def keys(bucket):
    return {one.key for one in bucket.objects.all()}


@pytest.fixture
def small(checkout, tmp_path, bucket, emulator):
    """Staging's own backend around one resource of Terraform's, so that it is quick."""
    directory = tmp_path / "small"
    directory.mkdir()
    (directory / "environment.tf").write_text((checkout / "environments/staging/environment.tf").read_text())
    (directory / "main.tf").write_text(LOOKS)
    login = {"AWS_ENDPOINT_URL_S3": emulator.url, "AWS_ACCESS_KEY_ID": "e", "AWS_SECRET_ACCESS_KEY": "e"}
    small = Root(directory, tmp_path / "data", login | {"NO_PROXY": "127.0.0.1"}, {})
    settings = EMULATED | {"bucket": BUCKET, "region": "ap-northeast-1"}
    small.init(*(f"-backend-config={name}={value}" for name, value in settings.items()))
    return small


def test_the_state_is_in_the_bucket_and_the_lock_beside_it_while_terraform_works(small, bucket):
    said = small.run("apply", "-auto-approve", "-no-color").stdout
    (seen,) = [line for line in said.splitlines() if "KEYS [" in line]
    assert LOCK in seen
    assert keys(bucket) == {KEY}
    state = json.loads(bucket.Object(KEY).get()["Body"].read())
    assert [one["type"] for one in state["resources"]] == ["terraform_data"]


def test_a_second_terraform_is_refused_and_says_who_is_first(small, bucket):
    bucket.put_object(
        Key=LOCK, Body=json.dumps({"ID": "0d2a", "Who": "anna@runner", "Operation": "OperationTypeApply"})
    )
    with pytest.raises(Unsuccessful, match=r"Error acquiring the state lock.*anna@runner"):
        small.run("apply", "-auto-approve", "-no-color")
    assert keys(bucket) == {LOCK}
    small.run("force-unlock", "-force", "0d2a")
    small.run("apply", "-auto-approve", "-no-color")
    assert keys(bucket) == {KEY}


def test_without_use_lockfile_nobody_would_be_refused(small, bucket):
    file = small.directory / "environment.tf"
    file.write_text(file.read_text().replace("use_lockfile = true", "use_lockfile = false"))
    settings = EMULATED | {"bucket": BUCKET, "region": "ap-northeast-1"}
    small.init("-reconfigure", *(f"-backend-config={name}={value}" for name, value in settings.items()))
    bucket.put_object(Key=LOCK, Body=HELD)
    small.run("apply", "-auto-approve", "-no-color")
    assert KEY in keys(bucket)


@pytest.fixture
def staging(checkout, stand_in, bucket, monkeypatch):
    """``provision`` as the inventory of staging has it called."""
    for name, value in stand_in.items():
        monkeypatch.setenv(name, value)

    def call(**options):
        return provision(
            **{
                "terraform_directory": str(checkout / "environments/staging"),
                "terraform_variables": VARIABLES,
                "terraform_backend": EMULATED | {"bucket": BUCKET, "region": "ap-northeast-1"},
                "allow_destroy": True,
                **options,
            }
        )

    return call


def test_the_driver_makes_destroys_and_makes_again_what_staging_describes(staging, bucket):
    assert staging(check=True).changed
    assert not keys(bucket), "check mode writes nothing"

    made = staging()
    assert made.details["outputs"]["identifier"] == "task-service-staging"
    assert made.details["actions"][ADDRESS] == "create"
    assert keys(bucket) == {KEY}
    assert not staging().changed

    gone = staging(state="absent")
    assert gone.details["actions"][ADDRESS] == "delete"
    assert not staging(state="absent").changed

    again = staging()
    assert again.details["outputs"]["resource_id"] != made.details["outputs"]["resource_id"]
    assert keys(bucket) == {KEY}


def test_the_driver_is_refused_while_somebody_else_is_at_work(staging, bucket, monkeypatch):
    monkeypatch.setattr("task_migration.external.terraform.LOCK_TIMEOUT", "0s")
    bucket.put_object(Key=LOCK, Body=HELD)
    with pytest.raises(Refused, match=r"is locked; measured: by anna@runner, for OperationTypeApply"):
        staging()


def test_production_is_refused_at_the_gate_even_where_somebody_typed_that_it_may_be_destroyed(
    staging, checkout, applied, bucket
):
    name = "environments/production"
    state = (applied(name) / "terraform" / name / "terraform.tfstate").read_text()
    bucket.put_object(Key="task-service/production.tfstate", Body=state)
    production = {"terraform_directory": str(checkout / name), "state": "absent"}
    for check in (True, False):
        with pytest.raises(Refused, match=r"Instance cannot be destroyed.*terraform_data\.stays"):
            staging(**production, check=check)
    assert bucket.Object("task-service/production.tfstate").get()["Body"].read().decode() == state


def test_the_runners_access_ends_where_nothing_else_may_be_destroyed(staging, checkout, applied, bucket):
    name = "environments/production"
    state = (applied(name) / "terraform" / name / "terraform.tfstate").read_text()
    bucket.put_object(Key="task-service/production.tfstate", Body=state)
    ended = staging(
        terraform_directory=str(checkout / name),
        terraform_variables=VARIABLES | {"runner_access": False},
        allow_destroy=False,
    )
    assert ended.details["actions"] == {
        'aws_vpc_security_group_ingress_rule.temporary["migration runner"]': "delete",
        'module.task_service_rds.aws_vpc_security_group_ingress_rule.temporary["migration runner"]': "delete",
    }
