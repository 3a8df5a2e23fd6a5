output "address" {
  description = "Host to connect to: for task_service_dsn in the inventory."
  value       = module.task_service_rds.address
}

output "port" {
  description = "Port to connect to."
  value       = module.task_service_rds.port
}

output "db_name" {
  description = "The database that is created with the server."
  value       = module.task_service_rds.db_name
}

output "username" {
  description = "The master login, which owns the database."
  value       = module.task_service_rds.username
}

output "identifier" {
  description = "Name of the server: for metric_source.db_instance in the inventory."
  value       = module.task_service_rds.identifier
}

output "resource_id" {
  description = "An id that is unique to this server: a later one gets another."
  value       = module.task_service_rds.resource_id
}

output "engine_version_actual" {
  description = "The running version of PostgreSQL."
  value       = module.task_service_rds.engine_version_actual
}

output "master_user_secret_arn" {
  description = "The secret in Secrets Manager with the master login's name and password."
  value       = module.task_service_rds.master_user_secret_arn
}

output "gateway_url" {
  description = "The stage's URL, without a custom domain: for gateway_url in the inventory."
  value       = module.tasks_gateway.invoke_url
}

output "gateway_resources" {
  description = "The task routes' paths: for metric_source.resources in the inventory."
  value       = module.tasks_gateway.resources
}

output "gateway_deployment_id" {
  description = "The newest deployment of the REST API. The stage uses it only after you set it (README)."
  value       = module.tasks_gateway.deployment_id
}

output "gateway_log_groups" {
  description = "The log groups with one line per request: all requests, and only the canary's."
  value       = module.tasks_gateway.access_log_groups
}

output "runner_instance_id" {
  description = "The id of the migration runner, for aws ssm start-session --target."
  value       = module.migration_runner.instance_id
}

output "role_arns" {
  description = "ARNs of the roles to assume: observer, operator, break-glass."
  value       = module.iam.role_arns
}

output "dashboard_name" {
  description = "The migration's dashboard in CloudWatch."
  value       = module.observability.dashboard_name
}
