output "alarm_names" {
  description = "Every alarm of the migration."
  value       = sort([for alarm in merge(aws_cloudwatch_metric_alarm.measured, aws_cloudwatch_metric_alarm.silent) : alarm.alarm_name])
}

output "dashboard_name" {
  description = "The dashboard: CloudWatch, Dashboards."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
