output "role_arns" {
  description = "ARNs of the roles, by purpose: observer, operator, break-glass."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
}

output "runner_policy_arns" {
  description = "Policies for the migration runner's role, by purpose. The services and the watch run there."
  value       = { for purpose in ["look", "traffic", "operate", "logins", "plan", "never"] : purpose => aws_iam_policy.this[purpose].arn }
}
