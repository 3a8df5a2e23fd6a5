output "address" {
  description = "Host to connect to: the name in the server's certificate, so no other name will do with sslmode=verify-full."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Port to connect to."
  value       = aws_db_instance.this.port
}

output "db_name" {
  description = "The database made with the server."
  value       = aws_db_instance.this.db_name
}

output "username" {
  description = "Master login, which owns the database."
  value       = aws_db_instance.this.username
}

output "identifier" {
  description = "Name of the server."
  value       = aws_db_instance.this.identifier
}

output "resource_id" {
  description = "An id that no later server will have."
  value       = aws_db_instance.this.resource_id
}

output "engine_version_actual" {
  description = "The version of PostgreSQL that runs."
  value       = aws_db_instance.this.engine_version_actual
}

output "master_user_secret_arn" {
  description = "Where Secrets Manager keeps the master login's name and password; it is gone with the server."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "arn" {
  description = "The server's ARN, for policies."
  value       = aws_db_instance.this.arn
}

output "security_group_id" {
  description = "The server's security group, for rules that lead to it."
  value       = aws_security_group.this.id
}
