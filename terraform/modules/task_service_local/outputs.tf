output "address" {
  description = "Host to connect to."
  value       = terraform_data.this.input.address
}

output "port" {
  description = "Port to connect to."
  value       = terraform_data.this.input.port
}

output "db_name" {
  description = "The database that is created with the server."
  value       = terraform_data.this.input.db_name
}

output "username" {
  description = "The master login, which owns the database."
  value       = terraform_data.this.input.username
}

output "identifier" {
  description = "Name of the server."
  value       = terraform_data.this.input.identifier
}

output "resource_id" {
  description = "An id that is unique to this server: a later one gets another."
  value       = terraform_data.this.id
}

output "engine_version_actual" {
  description = "The major version of PostgreSQL; an apply with other binaries fails."
  value       = terraform_data.this.input.engine_version
}

output "master_user_secret_arn" {
  description = "Always null: in the lab the master login's password is in the passfile."
  value       = null
}

output "passfile" {
  description = "The file with the master login's password, in libpq's format. Only the lab has one."
  value       = "${terraform_data.this.input.directory}/passfiles/${terraform_data.this.input.username}"
}
