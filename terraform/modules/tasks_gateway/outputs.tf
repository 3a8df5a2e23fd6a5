output "stage_arn" {
  description = "The stage's ARN, for policies."
  value       = aws_api_gateway_stage.this.arn
}

output "deployment_id" {
  description = "The newest deployment. The stage uses it only after you set it (README)."
  value       = aws_api_gateway_deployment.this.id
}

output "invoke_url" {
  description = "The stage's URL, without a custom domain."
  value       = aws_api_gateway_stage.this.invoke_url
}

output "resources" {
  description = "The task routes' paths, as the metrics name them."
  value       = [aws_api_gateway_resource.tasks.path, aws_api_gateway_resource.below.path]
}

output "access_log_groups" {
  description = "Names of the log groups with one line per request: all requests, and only the canary's."
  value = {
    all    = aws_cloudwatch_log_group.access.name
    canary = aws_cloudwatch_log_group.canary.name
  }
}

output "access_log_group_arns" {
  description = "ARNs of these log groups, for policies."
  value       = [aws_cloudwatch_log_group.access.arn, aws_cloudwatch_log_group.canary.arn]
}
