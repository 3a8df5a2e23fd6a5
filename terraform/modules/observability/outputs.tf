output "alarm_names" {
  description = "The names of the migration's alarms."
  value       = sort([for alarm in merge(aws_cloudwatch_metric_alarm.measured, aws_cloudwatch_metric_alarm.silent) : alarm.alarm_name])
}

output "dashboard_name" {
  description = "The dashboard's name in CloudWatch."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
