output "address" {
  description = "Host to connect to."
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
  description = "Name of the server."
  value       = module.task_service_rds.identifier
}

output "resource_id" {
  description = "An id that is unique to this server: a later one gets another."
  value       = module.task_service_rds.resource_id
}

output "engine_version_actual" {
  description = "The major version of PostgreSQL; an apply with other binaries fails."
  value       = module.task_service_rds.engine_version_actual
}

output "master_user_secret_arn" {
  description = "Always null: in the lab the master login's password is in the passfile."
  value       = module.task_service_rds.master_user_secret_arn
}

output "passfile" {
  description = "The file with the master login's password, in libpq's format. Only the lab has one."
  value       = module.task_service_rds.passfile
}
