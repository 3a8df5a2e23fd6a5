"""What staging and production would make, said by their plans, and what they leave alone afterwards."""

from __future__ import annotations

import json
import re

import pytest
from roots import LARAVEL, TASK_SERVICE, Unsuccessful, actions, planned

DATABASE = "module.task_service_rds.aws_db_instance.this"
STAGE = "aws_api_gateway_stage"
IN_AWS = ["environments/production", "environments/staging"]
INGRESS = "aws_vpc_security_group_ingress_rule"


@pytest.fixture
def plan_of(root, stand_in):
    """The plan of an environment where nothing is yet."""
    return lambda name, **variables: plan(root(name), variables)


def plan(ready, variables):
    ready.variables |= variables
    return ready.plan()


@pytest.mark.parametrize("name", IN_AWS)
def test_the_database_is_the_plans_with_what_the_plan_forgets(plan_of, name):
    environment = name.split("/")[1]
    plan = plan_of(name)
    (database,) = planned(plan, "aws_db_instance").values()
    assert {key: database[key] for key in ("instance_class", "multi_az", "storage_type", "allocated_storage")} == {
        "instance_class": "db.t4g.micro",
        "multi_az": True,
        "storage_type": "gp3",
        "allocated_storage": 20,
    }
    assert database["identifier"] == f"task-service-{environment}"
    assert database["storage_encrypted"] is True
    assert database["publicly_accessible"] is False
    assert database["backup_retention_period"] >= 7
    assert database["manage_master_user_password"] is True
    assert not database.get("iops"), "RDS refuses it below 400 GiB"
    assert database["deletion_protection"] is (environment == "production")
    subnets = planned(plan, "aws_db_subnet_group")["module.task_service_rds.aws_db_subnet_group.this"]
    assert set(subnets["subnet_ids"]) == {"subnet-1a", "subnet-1c"}


@pytest.mark.parametrize("name", IN_AWS)
def test_only_the_task_service_reaches_the_database_when_the_migration_has_ended(plan_of, name):
    (rule,) = planned(plan_of(name, runner_access=False), INGRESS).values()
    assert rule["referenced_security_group_id"] == "sg-task-service"
    assert (rule["ip_protocol"], rule["from_port"], rule["to_port"]) == ("tcp", 5432, 5432)


@pytest.mark.parametrize("name", IN_AWS)
def test_meanwhile_the_runner_reaches_both_databases_and_no_rule_names_an_address(plan_of, name):
    rules = planned(plan_of(name), INGRESS)
    assert rules.keys() == {
        "module.task_service_rds.aws_vpc_security_group_ingress_rule.task_service",
        'module.task_service_rds.aws_vpc_security_group_ingress_rule.temporary["migration runner"]',
        'aws_vpc_security_group_ingress_rule.temporary["migration runner"]',
    }
    assert not any(rule.get("cidr_ipv4") or rule.get("cidr_ipv6") for rule in rules.values())


def test_every_rule_and_group_is_described_in_letters_that_ec2_takes(plan_of):
    plan = plan_of(IN_AWS[0])
    for kind in (INGRESS, "aws_vpc_security_group_egress_rule", "aws_security_group"):
        for address, values in planned(plan, kind).items():
            assert re.fullmatch(r"[a-zA-Z0-9 ._:/()#,@\[\]+=&;{}!$*-]{1,255}", values["description"]), address


def test_other_zones_than_the_plans_are_refused(root, stand_in):
    with pytest.raises(Unsuccessful, match="ap-northeast-1a and ap-northeast-1c"):
        plan(root(IN_AWS[0]), {"database_subnet_ids": {"ap-northeast-1a": "subnet-1a", "ap-northeast-1d": "subnet-1d"}})


def test_taking_the_runners_access_away_takes_its_two_rules_and_nothing_else(standing):
    production = standing(IN_AWS[0])
    assert actions(plan(production, {"runner_access": False})) == {
        'aws_vpc_security_group_ingress_rule.temporary["migration runner"]': ["delete"],
        'module.task_service_rds.aws_vpc_security_group_ingress_rule.temporary["migration runner"]': ["delete"],
    }


def canary(percent):
    """What ``phase-2.4-canary.yml`` makes, as the provider reads it."""
    overrides = {"tasksUpstream": TASK_SERVICE}
    told = {"deployment_id": "d1", "percent_traffic": percent, "use_stage_cache": False}
    return {"canary_settings": [told | {"stage_variable_overrides": overrides}]}


DRIFTS = {
    "canary_settings": canary(25),
    "variables": {"variables": {"tasksUpstream": TASK_SERVICE, "tasksUpstreamOneWay": "true"}},
    "deployment_id": {"deployment_id": "another"},
}


def test_terraform_leaves_alone_what_the_runbook_changes_and_a_second_plan_is_empty(standing):
    production = standing(IN_AWS[0])
    assert production.is_as_planned()
    for drift in DRIFTS.values():
        production.alter(STAGE, **drift)
        assert production.is_as_planned()
    production.alter("aws_cloudwatch_metric_alarm", name="silent", actions_enabled=True)
    assert production.is_as_planned()
    production.alter(STAGE, cache_cluster_enabled=True)
    assert not production.is_as_planned(), "everything else is put right"


@pytest.mark.parametrize("ignored", DRIFTS)
def test_without_its_ignore_each_of_them_would_be_undone(standing, ignored):
    production = standing(IN_AWS[0])
    file = production.directory / "../../modules/tasks_gateway/main.tf"
    text, names = file.read_text(), [name for name in DRIFTS if name != ignored]
    assert "ignore_changes = [canary_settings, variables, deployment_id]" in text
    file.write_text(text.replace("[canary_settings, variables, deployment_id]", f"[{', '.join(names)}]"))
    production.alter(STAGE, **DRIFTS[ignored])
    assert not production.is_as_planned()


def test_the_bounds_of_terraforms_alarms_are_put_right(standing):
    production = standing(IN_AWS[0])
    production.alter("aws_cloudwatch_metric_alarm", name="silent", threshold=99)
    assert not production.is_as_planned()


def test_users_begin_at_laravel(plan_of):
    (stage,) = planned(plan_of(IN_AWS[0]), STAGE).values()
    assert stage["variables"] == {"tasksUpstream": LARAVEL}
    assert json.loads(stage["access_log_settings"][0]["format"])["isCanaryRequest"] == "$context.isCanaryRequest"


def test_no_password_is_in_plan_or_state(standing):
    production = standing(IN_AWS[0])
    (database,) = [one for one in production.state["resources"] if one["type"] == "aws_db_instance"]
    values = database["instances"][0]["attributes"]
    assert values["password"] is None
    assert values["password_wo"] is None
    assert "password" not in json.dumps(production.state["outputs"])


def test_staging_destroys_its_database_and_what_leads_to_it_and_nothing_else(standing):
    staging = standing("environments/staging")
    gone = actions(staging.plan("-destroy", "-target=module.task_service_rds"))
    others = {address for address in gone if not address.startswith("module.task_service_rds.")}
    assert set(map(tuple, gone.values())) == {("delete",)}
    assert others == {"module.migration_runner.aws_vpc_security_group_egress_rule.task_service"}


@pytest.mark.parametrize("options", [["-destroy", "-target=module.task_service_rds"], [f"-replace={DATABASE}"]])
def test_productions_database_is_neither_destroyed_nor_made_anew(standing, options):
    production = standing(IN_AWS[0])
    with pytest.raises(Unsuccessful, match=r"Instance cannot be destroyed.*terraform_data\.stays"):
        production.plan(*options)
    (production.directory / "stays.tf").write_text("")
    assert actions(production.plan(*options))[DATABASE] in (["delete"], ["delete", "create"], ["create", "delete"])


def test_every_last_snapshot_has_a_name_of_its_own(standing):
    def name():
        (one,) = [one for one in staging.state["resources"] if one["type"] == "aws_db_instance"]
        return one["instances"][0]["attributes"]["final_snapshot_identifier"]

    staging = standing("environments/staging")
    first = name()
    staging.apply(f"-replace={DATABASE}")
    assert name() != first


def test_the_outputs_hold_what_the_inventory_lacks(plan_of):
    told = plan_of(IN_AWS[0])["planned_values"]["outputs"]
    assert told.keys() >= {"address", "port", "identifier", "gateway_url", "gateway_resources", "role_arns"}
    assert told["identifier"]["value"] == "task-service-production"
