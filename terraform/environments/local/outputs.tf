output "address" {
  description = "Host to connect to."
  value       = module.task_service_rds.address
}

output "port" {
  description = "Port to connect to."
  value       = module.task_service_rds.port
}

output "db_name" {
  description = "The database made with the server."
  value       = module.task_service_rds.db_name
}

output "username" {
  description = "Master login, which owns the database."
  value       = module.task_service_rds.username
}

output "identifier" {
  description = "Name of the server."
  value       = module.task_service_rds.identifier
}

output "resource_id" {
  description = "An id that no later server will have."
  value       = module.task_service_rds.resource_id
}

output "engine_version_actual" {
  description = "PostgreSQL's major version that runs; one that the binaries are not of would have failed the apply."
  value       = module.task_service_rds.engine_version_actual
}

output "master_user_secret_arn" {
  description = "Where AWS keeps the master login's password: nowhere, here it is in the passfile."
  value       = module.task_service_rds.master_user_secret_arn
}

output "passfile" {
  description = "The file that holds the master login's password, in libpq's form. Only the lab has one."
  value       = module.task_service_rds.passfile
}
