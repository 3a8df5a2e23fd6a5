"""Who may do what: the roles' policies as production's plan has them, asked as AWS would be.

The rule is IAM's: a request is denied if any statement denies it, else allowed if any allows it, else denied. Of the
conditions only the one on the secret's mark is looked at.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

import pytest
from roots import ACCOUNT, copy_of, planned, ready_root

HERE = f"ap-northeast-1:{ACCOUNT}"
DATABASE = f"arn:aws:rds:{HERE}:db:task-service-production"
API = "arn:aws:apigateway:ap-northeast-1::/restapis/abc123"
STAGE, ANOTHER_STAGE = f"{API}/stages/live", f"{API}/stages/admin"
FLAG = f"arn:aws:ssm:{HERE}:parameter/app/TASK_SERVICE_ENABLED"
SERVICE = f"arn:aws:ecs:{HERE}:service/app/laravel"
TOPIC = f"arn:aws:sns:{HERE}:alerts"
ALARMS = f"arn:aws:cloudwatch:{HERE}:alarm:task-service-production"
SILENCE = f"{ALARMS}-migration-sync-forward-silent"
ALARM = f"{ALARMS}-errors"
LOGIN = f"arn:aws:rds-db:{HERE}:dbuser:db-ABC/task_migration_sync"
READER = f"arn:aws:rds-db:{HERE}:dbuser:db-ABC/task_migration_reader"
MARK = "aws:ResourceTag/aws:rds:primaryDBInstanceArn"
SECRET = f"arn:aws:secretsmanager:{HERE}:secret:rds!db-1"
STATE = "arn:aws:s3:::terraform-states/task-service/production.tfstate"
ROLES = ("observer", "operator", "break-glass")


class Policies:
    """The statements of each role, and of the runner's."""

    def __init__(self, plan):
        documents = {
            address.split('"')[1]: json.loads(values["policy"])["Statement"]
            for address, values in planned(plan, "aws_iam_policy").items()
        }
        self.of = {role: [] for role in ROLES}
        for address in planned(plan, "aws_iam_role_policy_attachment"):
            if address.startswith("module.iam."):
                role, purpose = address.split('"')[1].split()
                self.of[role] += documents[purpose]
            elif address.startswith("module.migration_runner.aws_iam_role_policy_attachment.this"):
                self.of.setdefault("runner", []).extend(documents[address.split('"')[1]])

    def allow(self, role, action, resource, database=DATABASE, given=()):
        """Whether a role may, if it were also given some statements more."""
        statements = [*self.of[role], *given]
        return {one["Effect"] for one in statements if speaks_of(one, action, resource, database)} == {"Allow"}


def speaks_of(statement, action, resource, database):
    if not any(fnmatchcase(action, one) for one in statement["Action"]):
        return False
    marked = statement.get("Condition", {}).get("StringEquals", {})
    if "aws:ResourceTag/aws:rds:primaryDBInstanceArn" in marked and marked != {
        "aws:ResourceTag/aws:rds:primaryDBInstanceArn": database
    }:
        return False
    if "NotResource" in statement:
        return not any(fnmatchcase(resource, one) for one in statement["NotResource"])
    return any(fnmatchcase(resource, one) for one in statement["Resource"])


@pytest.fixture(scope="module")
def plan(project, tmp_path_factory, stand_in):
    directory = tmp_path_factory.mktemp("policies")
    ready = ready_root(copy_of(project, directory / "terraform"), directory, "environments/production", stand_in)
    # Log groups have no ARN in a plan, and what would be looked for in them is nobody's to change.
    file = ready.directory / "../../modules/tasks_gateway/outputs.tf"
    text = file.read_text()
    known = text.replace("[aws_cloudwatch_log_group.access.arn, aws_cloudwatch_log_group.canary.arn]", '["arn:logs"]')
    assert known != text
    file.write_text(known)
    runner = ready.directory / "../../modules/migration_runner/outputs.tf"
    runner.write_text(runner.read_text().replace("aws_instance.this.arn", '"arn:runner"'))
    return ready.plan()


@pytest.fixture(scope="module")
def policies(plan):
    return Policies(plan)


# What the runbook's code asks of AWS; each is in scripts/task_migration.
ASKED = [
    ("apigateway:GET", STAGE),
    ("apigateway:PATCH", STAGE),
    ("cloudwatch:GetMetricData", "*"),
    ("cloudwatch:ListMetrics", "*"),
    ("cloudwatch:DescribeAlarms", "*"),
    ("cloudwatch:PutMetricAlarm", ALARM),
    ("cloudwatch:PutMetricData", "*"),
    ("cloudwatch:EnableAlarmActions", SILENCE),
    ("cloudwatch:DisableAlarmActions", SILENCE),
    ("rds-db:connect", LOGIN),
    ("rds:DescribeDBInstances", DATABASE),
    ("ecs:DescribeServices", SERVICE),
    ("ecs:UpdateService", SERVICE),
    ("sns:Publish", TOPIC),
    ("ssm:GetParameter", FLAG),
    ("ssm:PutParameter", FLAG),
    ("secretsmanager:GetSecretValue", SECRET),
    ("s3:GetObject", STATE),
    ("s3:PutObject", f"{STATE}.tflock"),
    ("s3:DeleteObject", f"{STATE}.tflock"),
]


@pytest.mark.parametrize(("action", "resource"), ASKED)
def test_whoever_runs_the_phases_may_do_what_they_do(policies, action, resource):
    assert policies.allow("operator", action, resource)
    assert policies.allow("runner", action, resource)


# What the provider asks to refresh each type, without what it asks of tags.
REFRESHED = {
    "aws_api_gateway_account": [("apigateway:GET", "arn:aws:apigateway:ap-northeast-1::/account")],
    "aws_api_gateway_": [("apigateway:GET", f"{API}/anything")],
    "aws_cloudwatch_dashboard": ["cloudwatch:GetDashboard"],
    "aws_cloudwatch_log_group": ["logs:DescribeLogGroups"],
    "aws_cloudwatch_metric_alarm": ["cloudwatch:DescribeAlarms"],
    "aws_db_instance": ["rds:DescribeDBInstances"],
    "aws_db_parameter_group": ["rds:DescribeDBParameterGroups", "rds:DescribeDBParameters"],
    "aws_db_subnet_group": ["rds:DescribeDBSubnetGroups"],
    "aws_iam_instance_profile": ["iam:GetInstanceProfile"],
    "aws_iam_policy": ["iam:GetPolicy", "iam:GetPolicyVersion"],
    "aws_iam_role": ["iam:GetRole", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies"],
    "aws_instance": ["ec2:DescribeInstances", "ec2:DescribeInstanceAttribute", "ec2:DescribeVolumes"],
    "aws_security_group": ["ec2:DescribeSecurityGroups"],
    "aws_vpc_security_group_": ["ec2:DescribeSecurityGroupRules"],
}


@pytest.mark.parametrize("role", ["operator", "runner"])
def test_phase_2_1_can_see_whether_everything_that_terraform_made_is_there(policies, plan, role):
    for kind in {one["type"] for one in plan["resource_changes"] if one["type"].startswith("aws_")}:
        beginnings = [one for one in REFRESHED if kind.startswith(one)]
        assert beginnings, f"what refreshing {kind} takes is not said here"
        for asked in REFRESHED[max(beginnings, key=len)]:
            action, resource = asked if isinstance(asked, tuple) else (asked, "*")
            assert policies.allow(role, action, resource), (kind, action)


FORBIDDEN = [
    ("rds:DeleteDBInstance", DATABASE),
    ("rds:ModifyDBInstance", DATABASE),
    ("rds:DeleteDBSnapshot", DATABASE),
    ("rds:DeleteDBInstanceAutomatedBackup", DATABASE),
    ("apigateway:DELETE", API),
    ("apigateway:DELETE", STAGE),
    ("apigateway:POST", f"{API}/deployments"),
    ("apigateway:PUT", f"{API}/resources/1/methods/ANY"),
    ("apigateway:PATCH", ANOTHER_STAGE),
    ("apigateway:PATCH", API),
    ("secretsmanager:PutSecretValue", SECRET),
    ("secretsmanager:DeleteSecret", SECRET),
    ("ssm:PutParameter", f"arn:aws:ssm:{HERE}:parameter/app/APP_KEY"),
    ("s3:PutObject", STATE),
    ("s3:DeleteObject", STATE),
]


@pytest.mark.parametrize("role", [*ROLES, "runner"])
@pytest.mark.parametrize(("action", "resource"), FORBIDDEN)
def test_nobody_may_do_what_can_not_be_taken_back_whatever_else_a_role_is_given(policies, role, action, resource):
    everything = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
    assert not policies.allow(role, action, resource, given=[everything])


@pytest.mark.parametrize("action", ["iam:AttachRolePolicy", "iam:PassRole", "sts:AssumeRole", "kms:Decrypt"])
def test_no_role_leads_to_another(policies, action):
    assert not any(policies.allow(role, action, "*") for role in policies.of)


def test_terraforms_alarms_are_not_the_runbooks_to_alter_nor_to_silence(policies):
    owned = (f"{ALARMS}-migration-differences", f"{ALARMS}-database-cpu")
    for role in policies.of:
        assert not any(policies.allow(role, "cloudwatch:PutMetricAlarm", alarm) for alarm in (*owned, SILENCE))
        assert not any(policies.allow(role, "cloudwatch:DisableAlarmActions", alarm) for alarm in owned)


def test_an_observer_changes_nothing(policies):
    changing = ("PATCH", "Put", "Update", "Publish", "Start", "Delete", "Create", "Enable", "Disable", "rds-db")
    for action, resource in ASKED:
        if any(word in action for word in changing):
            assert not policies.allow("observer", action, resource), action
    assert not policies.allow("observer", "secretsmanager:GetSecretValue", SECRET)
    assert policies.allow("observer", "cloudwatch:GetMetricData", "*")
    assert policies.allow("observer", "rds-db:connect", READER)


def test_nobody_logs_in_as_the_master_or_the_application_by_a_token(policies):
    for name in ("task_service_admin", "laravel", "postgres"):
        login = f"arn:aws:rds-db:{HERE}:dbuser:db-ABC/{name}"
        assert not any(policies.allow(role, "rds-db:connect", login) for role in policies.of)


def test_metrics_are_published_in_the_runbooks_own_namespace_alone(policies):
    for role in ("operator", "runner"):
        (one,) = (one for one in policies.of[role] if "cloudwatch:PutMetricData" in one["Action"])
        assert one["Condition"] == {"StringEquals": {"cloudwatch:namespace": "TaskMigration"}}


def test_break_glass_moves_traffic_and_does_nothing_else(policies):
    allowed = {(action, resource) for action, resource in ASKED if policies.allow("break-glass", action, resource)}
    assert allowed == {("apigateway:GET", STAGE), ("apigateway:PATCH", STAGE)}


def test_the_secret_of_another_database_is_nobodys(policies):
    another = f"arn:aws:rds:{HERE}:db:laravel"
    assert not any(policies.allow(role, "secretsmanager:GetSecretValue", SECRET, another) for role in policies.of)


def test_sessions_are_opened_by_operators_on_the_runner_alone(policies):
    assert policies.allow("operator", "ssm:StartSession", "arn:runner")
    assert not policies.allow("operator", "ssm:StartSession", f"arn:aws:ec2:{HERE}:instance/i-2")
    assert not any(policies.allow(role, "ssm:StartSession", "arn:runner") for role in ("observer", "break-glass"))
