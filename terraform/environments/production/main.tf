# Both environments share this file (staging's files are links to production's), so staging rehearses what production
# gets. The differences are in environment.tf, and in production's stays.tf.
locals {
  name = "task-service-${local.environment}"
  # Access to the databases that is removed after the migration.
  temporary = var.runner_access ? ["migration runner"] : []
}

module "task_service_rds" {
  source = "../../modules/task_service_rds"

  identifier                     = local.name
  db_name                        = "task_service"
  username                       = "task_service_admin"
  port                           = 5432
  engine_version                 = "18"
  vpc_id                         = var.vpc_id
  subnet_ids                     = var.database_subnet_ids
  task_service_security_group_id = var.task_service_security_group_id
  temporary_security_group_ids   = { for purpose in local.temporary : purpose => module.migration_runner.security_group_id }
  deletion_protection            = local.deletion_protection
  alarm_topic_arns               = compact([var.alert_topic_arn])
}

module "migration_runner" {
  source = "../../modules/migration_runner"

  name                  = "${local.name}-runner"
  vpc_id                = var.vpc_id
  subnet_id             = var.runner_subnet_id
  laravel_database      = { security_group_id = var.laravel_database_security_group_id, port = var.laravel_database_port }
  task_service_database = { security_group_id = module.task_service_rds.security_group_id, port = 5432 }
  policy_arns           = module.iam.runner_policy_arns
}

# Adds a rule to the existing security group of Laravel's database.
resource "aws_vpc_security_group_ingress_rule" "temporary" {
  for_each = toset(local.temporary)

  security_group_id            = var.laravel_database_security_group_id
  description                  = "${each.key}, until the migration has ended"
  referenced_security_group_id = module.migration_runner.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.laravel_database_port
  to_port                      = var.laravel_database_port
}

module "tasks_gateway" {
  source = "../../modules/tasks_gateway"

  name                 = local.name
  rest_api_id          = var.gateway_rest_api_id
  api_resource_id      = var.gateway_api_resource_id
  stage_name           = var.gateway_stage
  gateway_variable     = var.gateway_variable
  laravel_upstream     = var.laravel_upstream
  sets_account_logging = var.sets_account_logging
}

module "observability" {
  source = "../../modules/observability"

  migration_environment      = local.environment
  aws_region                 = var.aws_region
  db_instance                = local.name
  alarm_topic_arns           = compact([var.alert_topic_arn])
  metrics_namespace          = var.metrics_namespace
  canary_error_rate_percent  = var.bounds.canary_error_rate_percent
  canary_p95_ms              = var.bounds.canary_p95_ms
  canary_sync_latency_ms     = var.bounds.canary_sync_latency_ms
  canary_cpu_percent         = var.bounds.canary_cpu_percent
  trigger_error_rate_percent = var.bounds.trigger_error_rate_percent
  trigger_latency_ms         = var.bounds.trigger_latency_ms
  consistency_every_seconds  = var.bounds.consistency_every_seconds
  verdict_max_age_hours      = var.bounds.verdict_max_age_hours
  change_log_warn_entries    = var.bounds.change_log_warn_entries
}

module "iam" {
  source = "../../modules/iam"

  name                  = local.name
  aws_region            = var.aws_region
  aws_account_id        = var.aws_account_id
  principal_arns        = var.principal_arns
  rest_api_id           = var.gateway_rest_api_id
  stage_name            = var.gateway_stage
  database_identifier   = local.name
  access_log_group_arns = module.tasks_gateway.access_log_group_arns
  runner_arn            = module.migration_runner.arn
  state                 = { bucket = var.state_bucket, key = local.state_key }
  alert_topic_arn       = var.alert_topic_arn
  metrics_namespace     = var.metrics_namespace
  laravel_flag          = var.laravel_flag
}
