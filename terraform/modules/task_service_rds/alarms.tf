locals {
  # Each is in alarm if 3 of 5 periods are out of bounds.
  alarms = {
    cpu = {
      description = "the CPU is at 70 % or more, or unknown: the canary's bound"
      metric      = "CPUUtilization"
      statistic   = "Average"
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = 70
      period      = 60
      missing     = "breaching"
    }
    credits = {
      description = "fewer than 60 of 288 CPU credits are left: without credits the server is slow, or costs more"
      metric      = "CPUCreditBalance"
      statistic   = "Minimum"
      comparison  = "LessThanThreshold"
      threshold   = 60
      period      = 300 # not published more often
      missing     = "missing"
    }
    storage = {
      description = "less than 4 GiB of storage is free"
      metric      = "FreeStorageSpace"
      statistic   = "Minimum"
      comparison  = "LessThanThreshold"
      threshold   = 4 * 1024 * 1024 * 1024
      period      = 60
      missing     = "missing"
    }
    connections = {
      description = "60 connections or more, of about 80 in this instance class"
      metric      = "DatabaseConnections"
      statistic   = "Maximum"
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = 60
      period      = 60
      missing     = "missing"
    }
  }
}

# "database" is in the name because phase-2.5-cleanup.yml creates other alarms of this prefix.
resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.identifier}-database-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = { DBInstanceIdentifier = aws_db_instance.this.identifier }
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}
