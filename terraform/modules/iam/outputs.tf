output "role_arns" {
  description = "ARNs of the roles, by what each is for: observer, operator, break-glass."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
}

output "runner_policy_arns" {
  description = "What the migration runner's own role is given, by purpose: the phases and the watch run there by themselves."
  value       = { for purpose in ["look", "traffic", "operate", "logins", "plan", "never"] : purpose => aws_iam_policy.this[purpose].arn }
}
