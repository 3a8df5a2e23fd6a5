output "address" {
  description = "Host to connect to: the name in the server's certificate, which sslmode=verify-full requires."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Port to connect to."
  value       = aws_db_instance.this.port
}

output "db_name" {
  description = "The database that is created with the server."
  value       = aws_db_instance.this.db_name
}

output "username" {
  description = "The master login, which owns the database."
  value       = aws_db_instance.this.username
}

output "identifier" {
  description = "Name of the server."
  value       = aws_db_instance.this.identifier
}

output "resource_id" {
  description = "An id that is unique to this server: a later one gets another."
  value       = aws_db_instance.this.resource_id
}

output "engine_version_actual" {
  description = "The running version of PostgreSQL."
  value       = aws_db_instance.this.engine_version_actual
}

output "master_user_secret_arn" {
  description = "The secret in Secrets Manager with the master login's name and password; it is deleted with the server."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "arn" {
  description = "The server's ARN, for policies."
  value       = aws_db_instance.this.arn
}

output "security_group_id" {
  description = "The server's security group, for rules that refer to it."
  value       = aws_security_group.this.id
}
