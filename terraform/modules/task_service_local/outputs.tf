output "address" {
  description = "Host to connect to."
  value       = terraform_data.this.input.address
}

output "port" {
  description = "Port to connect to."
  value       = terraform_data.this.input.port
}

output "db_name" {
  description = "The database made with the server."
  value       = terraform_data.this.input.db_name
}

output "username" {
  description = "Master login, which owns the database."
  value       = terraform_data.this.input.username
}

output "identifier" {
  description = "Name of the server."
  value       = terraform_data.this.input.identifier
}

output "resource_id" {
  description = "An id that no later server will have."
  value       = terraform_data.this.id
}

output "engine_version_actual" {
  description = "PostgreSQL's major version that runs; one that the binaries are not of would have failed the apply."
  value       = terraform_data.this.input.engine_version
}

output "master_user_secret_arn" {
  description = "Where AWS keeps the master login's password: nowhere, here it is in the passfile."
  value       = null
}

output "passfile" {
  description = "The file that holds the master login's password, in libpq's form. Only the lab has one."
  value       = "${terraform_data.this.input.directory}/passfiles/${terraform_data.this.input.username}"
}
