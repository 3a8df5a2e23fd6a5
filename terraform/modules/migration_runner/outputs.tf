output "instance_id" {
  description = "For aws ssm start-session --target."
  value       = aws_instance.this.id
}

output "arn" {
  description = "The instance's ARN, for policies."
  value       = aws_instance.this.arn
}

output "security_group_id" {
  description = "The runner's security group, which the databases let in for the time of the migration."
  value       = aws_security_group.this.id
}

output "role_arn" {
  description = "The role that the sync, the checks and the watch have in AWS."
  value       = aws_iam_role.this.arn
}
