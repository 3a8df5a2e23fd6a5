# Only plans and mock applies: nothing is created, and no account is needed.
mock_provider "aws" {
  mock_resource "aws_db_instance" {
    defaults = {
      arn                   = "arn:aws:rds:ap-northeast-1:123456789012:db:task-service-staging"
      address               = "task-service-staging.c0example.ap-northeast-1.rds.amazonaws.com"
      resource_id           = "db-ABCDEFGHIJKL01234"
      engine_version_actual = "18.1"
      master_user_secret = [{
        kms_key_id    = "arn:aws:kms:ap-northeast-1:123456789012:key/11111111-1111-1111-1111-111111111111"
        secret_arn    = "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:rds!db-11111111"
        secret_status = "active"
      }]
    }
  }
}

variables {
  identifier                     = "task-service-staging"
  vpc_id                         = "vpc-1"
  subnet_ids                     = { ap-northeast-1a = "subnet-1a", ap-northeast-1c = "subnet-1c" }
  task_service_security_group_id = "sg-task-service"
  alarm_topic_arns               = ["arn:aws:sns:ap-northeast-1:123456789012:alerts"]
}

run "is_the_plans_database" {
  command = plan

  assert {
    condition     = aws_db_instance.this.engine == "postgres" && aws_db_instance.this.instance_class == "db.t4g.micro"
    error_message = "PostgreSQL on db.t4g.micro."
  }
  assert {
    condition     = aws_db_instance.this.multi_az
    error_message = "A standby in another zone."
  }
  assert {
    condition     = aws_db_instance.this.allocated_storage == 20 && aws_db_instance.this.storage_type == "gp3"
    error_message = "20 GB of gp3."
  }
  assert {
    condition     = keys(data.aws_subnet.this) == ["ap-northeast-1a", "ap-northeast-1c"]
    error_message = "In the zones 1a and 1c."
  }
}

run "has_what_the_plan_forgets" {
  command = plan

  assert {
    condition     = aws_db_instance.this.storage_encrypted && !aws_db_instance.this.publicly_accessible
    error_message = "Encrypted, and reached from nowhere outside."
  }
  assert {
    condition     = aws_db_instance.this.backup_retention_period >= 7 && aws_db_instance.this.copy_tags_to_snapshot
    error_message = "Backups, which point-in-time recovery needs."
  }
  assert {
    condition     = aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot && !aws_db_instance.this.delete_automated_backups
    error_message = "Not deleted by mistake, and not without a snapshot."
  }
  assert {
    condition     = can(regex("^task-service-staging-20[0-9]{12}$", aws_db_instance.this.final_snapshot_identifier))
    error_message = "A name for the last snapshot that the next server does not have."
  }
  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null
    error_message = "The password is Secrets Manager's."
  }
  assert {
    condition     = toset(aws_db_instance.this.enabled_cloudwatch_logs_exports) == toset(keys(aws_cloudwatch_log_group.this))
    error_message = "The logs go to CloudWatch, to groups with a retention."
  }
  assert {
    condition     = toset([for alarm in aws_cloudwatch_metric_alarm.this : alarm.metric_name]) == toset(["CPUUtilization", "CPUCreditBalance", "FreeStorageSpace", "DatabaseConnections"])
    error_message = "Alarms on CPU, credits, storage and connections."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset(var.alarm_topic_arns)])
    error_message = "Each notifies the topic."
  }
}

run "speaks_tls_only_and_logs" {
  command = plan

  assert {
    condition     = aws_db_parameter_group.this.family == "postgres18"
    error_message = "The family is that of the major version."
  }
  assert {
    condition     = { for one in aws_db_parameter_group.this.parameter : one.name => one.value }["rds.force_ssl"] == "1"
    error_message = "Connections without TLS are refused."
  }
  assert {
    condition     = { for one in aws_db_parameter_group.this.parameter : one.name => one.value }["log_statement"] == "ddl"
    error_message = "What alters a table is logged."
  }
}

run "lets_in_only_the_task_service" {
  command = plan

  assert {
    condition     = aws_vpc_security_group_ingress_rule.task_service.referenced_security_group_id == "sg-task-service"
    error_message = "The Task Service may connect."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.task_service.from_port == 5432 && aws_vpc_security_group_ingress_rule.task_service.to_port == 5432 && aws_vpc_security_group_ingress_rule.task_service.ip_protocol == "tcp"
    error_message = "To PostgreSQL's port."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.task_service.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.task_service.cidr_ipv6 == null
    error_message = "By its group and no address."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.temporary) == 0
    error_message = "No other group, unless configured."
  }
}

run "lets_the_runner_in_for_a_time" {
  command = plan
  variables {
    temporary_security_group_ids = { "migration runner" = "sg-runner" }
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.temporary["migration runner"].referenced_security_group_id == "sg-runner"
    error_message = "The runner may connect."
  }
}

run "tells_what_every_module_of_the_interface_tells" {
  assert {
    condition     = output.address == "task-service-staging.c0example.ap-northeast-1.rds.amazonaws.com" && output.port == 5432
    error_message = "How to reach it."
  }
  assert {
    condition     = output.db_name == "task_service" && output.username == "task_service_admin" && output.identifier == "task-service-staging"
    error_message = "The defaults are the plan's database and login."
  }
  assert {
    condition     = output.resource_id == "db-ABCDEFGHIJKL01234" && output.engine_version_actual == "18.1"
    error_message = "An id of its own, and the version that runs."
  }
  assert {
    condition     = output.master_user_secret_arn == "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:rds!db-11111111"
    error_message = "Where the password is."
  }
}

run "one_zone_is_refused" {
  command = plan
  variables {
    subnet_ids = { ap-northeast-1a = "subnet-1a" }
  }
  expect_failures = [var.subnet_ids]
}

run "an_address_in_place_of_a_group_is_refused" {
  command = plan
  variables {
    task_service_security_group_id = "10.0.0.0/8"
  }
  expect_failures = [var.task_service_security_group_id]
}

run "a_port_that_rds_would_refuse_is_refused" {
  command = plan
  variables {
    port = 80
  }
  expect_failures = [var.port]
}

run "an_identifier_that_rds_would_refuse_is_refused" {
  command = plan
  variables {
    identifier = "task--service"
  }
  expect_failures = [var.identifier]
}

run "a_superusers_name_is_refused" {
  command = plan
  variables {
    username = "postgres"
  }
  expect_failures = [var.username]
}

run "a_database_name_with_a_quote_is_refused" {
  command = plan
  variables {
    db_name = "task\"service"
  }
  expect_failures = [var.db_name]
}

run "a_minor_version_is_refused" {
  command = plan
  variables {
    engine_version = "18.1"
  }
  expect_failures = [var.engine_version]
}
