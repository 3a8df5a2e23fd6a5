output "instance_id" {
  description = "The instance's id, for aws ssm start-session --target."
  value       = aws_instance.this.id
}

output "arn" {
  description = "The instance's ARN, for policies."
  value       = aws_instance.this.arn
}

output "security_group_id" {
  description = "The runner's security group, which may connect to the databases during the migration."
  value       = aws_security_group.this.id
}

output "role_arn" {
  description = "The AWS role of the sync, the checks and the watch."
  value       = aws_iam_role.this.arn
}
