"""The checks can fail: a module with one thing wrong in it is found out."""

from __future__ import annotations

import pytest
from roots import Unsuccessful

RDS, GATEWAY, RUNNER = "task_service_rds", "tasks_gateway", "migration_runner"
OBSERVABILITY = "observability"

INVALID = [
    (RDS, "main.tf", "multi_az  ", "multi_zone  ", 'An argument named "multi_zone" is not expected here'),
    (RDS, "main.tf", "storage_encrypted = true", 'storage_encrypted = "very"', "a bool is required"),
    (RDS, "main.tf", 'instance_class = "db.t4g.micro"', "", 'The argument "instance_class" is required'),
    (RDS, "main.tf", 'engine         = "postgres"', 'resource_id = "db-1"', "resource_id"),
    (RDS, "outputs.tf", "aws_db_instance.this.address", "aws_db_instance.this.adress", "no argument, nested block"),
    (GATEWAY, "main.tf", "access_log_settings {", "access_log {", "Blocks of type"),
    (RUNNER, "main.tf", "http_tokens ", "http_token ", 'An argument named "http_token" is not expected here'),
]

WRONG = [
    (RDS, "main.tf", "multi_az       = true", "multi_az       = false", "A standby in another zone"),
    (RDS, "main.tf", '"gp3"', '"gp2"', "20 GB of gp3"),
    (RDS, "main.tf", "storage_encrypted = true", "storage_encrypted = false", "Encrypted"),
    (RDS, "main.tf", 'name  = "rds.force_ssl"\n    value = "1"', 'name  = "rds.force_ssl"\n    value = "0"', "TLS"),
    (
        *(RDS, "network.tf", "referenced_security_group_id = var.task_service_security_group_id"),
        *('cidr_ipv4 = "0.0.0.0/0"', "The Task Service may connect"),
    ),
    (RDS, "network.tf", "= var.temporary_security_group_ids", '= { all = "sg-1" }', "No other group"),
    (GATEWAY, "routes.tf", "$${stageVariables.${var.gateway_variable}}/api/tasks/{", "laravel/api/tasks/{", "below"),
    (GATEWAY, "main.tf", "$context.isCanaryRequest", "$context.stage", "isCanaryRequest"),
    (RUNNER, "main.tf", '"required"', '"optional"', "IMDSv2"),
    (OBSERVABILITY, "main.tf", '= "breaching"', '= "ignore"', "It is in alarm without data"),
    (OBSERVABILITY, "main.tf", "actions_enabled     = false", "actions_enabled     = true", "before phase 2.3"),
    (OBSERVABILITY, "main.tf", 'metric = "DeadLetters"', 'metric = "Deadletters"', "Deadletters"),
    (OBSERVABILITY, "variables.tf", "default     = 0.1", "default     = 1", "errors below 0.1 %"),
    (
        OBSERVABILITY,
        "dashboard.tf",
        '["SoakDuration"]',
        '["ConsistencyRows"]',
        "Every published metric",
    ),
    (
        "iam",
        "main.tf",
        '"aws:MultiFactorAuthPresent" = "true"',
        '"aws:MultiFactorAuthPresent" = "false"',
        "second factor",
    ),
]


def broken(root, module, file, old, new):
    ready = root(f"modules/{module}")
    text = (ready.directory / file).read_text()
    assert old in text
    (ready.directory / file).write_text(text.replace(old, new, 1))
    return ready


@pytest.mark.parametrize(("module", "file", "old", "new", "said"), INVALID, ids=lambda one: one[:40])
def test_what_the_provider_does_not_know_is_not_valid(root, module, file, old, new, said):
    with pytest.raises(Unsuccessful, match=said):
        broken(root, module, file, old, new).validate()


@pytest.mark.parametrize(("module", "file", "old", "new", "said"), WRONG, ids=lambda one: one[:40])
def test_what_is_valid_and_wrong_fails_the_modules_own_tests(root, module, file, old, new, said):
    with pytest.raises(Unsuccessful, match=said):
        broken(root, module, file, old, new).test()
