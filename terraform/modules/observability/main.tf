# The alarms of the migration, on the metrics that the runbook publishes. Their names start with
# task-service-<environment>-migration-. phase-2.5-cleanup.yml creates those without "migration" for the time after it, and
# the module task_service_rds those with "database".
locals {
  # The runbook reads the same file (scripts/task_migration/external/metric_data.yml is a link to it).
  metrics  = yamldecode(file("${path.module}/metric_data.yml"))
  name     = "task-service-${var.migration_environment}-migration"
  playbook = "ansible-playbook -i ../inventories/${var.migration_environment}"

  comparison = {
    "below"   = "GreaterThanOrEqualToThreshold"
    "at most" = "GreaterThanThreshold"
    "least"   = "LessThanThreshold"
  }

  short = { Milliseconds = "ms", Seconds = "s", Percent = "%", Count = "" }

  # For each direction: in alarm if `bad` of `looks` minutes are out of bounds. Missing data is ignored.
  of_direction = {
    latency = {
      metric = "SyncLatencyP95", statistic = "Maximum", allowed = "below", bound = var.canary_sync_latency_ms, looks = 5, bad = 3
      about  = "has a higher latency than the plan allows"
      type   = "status.yml"
    }
    trigger = {
      metric = "SyncLatencyP95", statistic = "Maximum", allowed = "at most", bound = var.trigger_latency_ms, looks = 2, bad = 2
      about  = "is so late that watch.yml rolls back the dual write; if no watch is running"
      type   = "watch.yml"
    }
    standstill = {
      metric = "SyncOldestWrite", statistic = "Maximum", allowed = "at most", bound = var.standstill_seconds, looks = 3, bad = 3
      about  = "has not synced a write"
      type   = "status.yml"
    }
    queue = {
      metric = "SyncQueueDepth", statistic = "Maximum", allowed = "at most", bound = var.change_log_warn_entries, looks = 3, bad = 3
      about  = "does not keep up with the change log"
      type   = "status.yml"
    }
  }

  measured = merge(
    merge([
      for direction in ["forward", "backward"] : {
        for name, one in local.of_direction : "sync-${direction}-${name}" => merge(one, {
          direction = direction, period = 60, missing = "notBreaching", about = "the sync ${direction} ${one.about}"
        })
      }
    ]...),
    {
      # A check is one datapoint per hour: its result is valid until the next one.
      differences = {
        metric = "ConsistencyDifferences", statistic = "Maximum", allowed = "at most", bound = 0, period = 60, looks = 1, bad = 1, missing = "ignore"
        about  = "Laravel and the Task Service differ: phase 2.2 lists every row, and reconcile.yml reconciles them"
        type   = "phase-2.2-verify.yml"
      }
      inconsistent = {
        metric = "ConsistencyVerdict", statistic = "Minimum", allowed = "least", bound = 0, period = 60, looks = 1, bad = 1, missing = "ignore"
        about  = "the consistency check failed: rows differ, are unaccounted for, or could not be synced"
        type   = "phase-2.2-verify.yml"
      }
      dead-letters = {
        metric = "DeadLetters", statistic = "Maximum", allowed = "at most", bound = 0, period = 60, looks = 1, bad = 1, missing = "ignore"
        about  = "writes could not be synced to the other side"
        type   = "sync-report.yml"
      }
      api-errors = {
        metric = "ApiErrorRate", statistic = "Average", allowed = "at most", bound = var.trigger_error_rate_percent, period = 60, looks = 2, bad = 2
        about  = "so many requests to the Task Service's API fail that watch.yml rolls back the dual write", missing = "notBreaching"
        type   = "status.yml"
      }
      api-latency = {
        metric = "ApiLatencyP95", statistic = "Maximum", allowed = "at most", bound = var.trigger_latency_ms, period = 60, looks = 2, bad = 2
        about  = "the Task Service's API is so slow that watch.yml rolls back the dual write", missing = "notBreaching"
        type   = "status.yml"
      }
      canary-red = {
        metric = "CanaryVerdict", statistic = "Minimum", allowed = "least", bound = 0, period = 60, looks = 1, bad = 1, missing = "notBreaching"
        about  = "the gate of the canary is red: a running watch rolls back what is needed; if no watch is running"
        type   = "watch.yml"
      }
      canary-errors = {
        metric = "CanaryErrorRate", statistic = "Maximum", allowed = "below", bound = var.canary_error_rate_percent, period = 60, looks = 5, bad = 3
        about  = "more of the users' requests to the Task Service fail than the plan allows", missing = "notBreaching"
        type   = "status.yml"
      }
      canary-latency = {
        metric = "CanaryLatencyP95", statistic = "Maximum", allowed = "below", bound = var.canary_p95_ms, period = 60, looks = 5, bad = 3
        about  = "the Task Service answers users more slowly than the plan allows", missing = "notBreaching"
        type   = "status.yml"
      }
      verify-red = {
        metric = "VerifyVerdict", statistic = "Maximum", allowed = "least", bound = 1, period = 300, looks = 1, bad = 1, missing = "notBreaching"
        about  = "phase 2.2's last verdict is red, or there is none: every weight of the canary will be refused"
        type   = "phase-2.2-verify.yml"
      }
      verify-old = {
        metric = "VerifyVerdictAge", statistic = "Maximum", allowed = "at most", bound = var.verdict_max_age_hours * 3600, period = 300, looks = 1, bad = 1
        about  = "phase 2.2's last verdict is too old: the next weight of the canary will be refused", missing = "notBreaching"
        type   = "phase-2.2-verify.yml"
      }
    },
  )

  # Alarms on missing data. They are useful only while a service should be publishing.
  silent = merge(
    {
      # A failover of the database takes up to 180 s.
      for direction in ["forward", "backward"] : "sync-${direction}-silent" => {
        metric = "SyncHealthy", direction = direction, statistic = "Minimum", allowed = "least", bound = 1, period = 60, looks = 4, bad = 4
        about  = "the sync ${direction} is blocked, cannot reach a database, or publishes nothing"
        type   = "status.yml"
      }
    },
    {
      consistency-silent = {
        metric = "ConsistencyAge", statistic = "Maximum", allowed = "at most", bound = 2 * var.consistency_every_seconds, period = 300, looks = 2, bad = 2
        about  = "the newest consistency check is too old or could not run, or no watch is running"
        type   = "status.yml"
      }
    },
  )

  dimensions = {
    for name, one in merge(local.measured, local.silent) : name => merge(
      { Environment = var.migration_environment },
      local.metrics[one.metric].directed ? { Direction = one.direction } : {},
    )
  }
  # A verdict has no bound to print.
  allowed = {
    for name, one in merge(local.measured, local.silent) : name =>
    one.allowed == "least" ? "" : " (allowed: ${trimspace("${one.allowed} ${one.bound} ${local.short[local.metrics[one.metric].unit]}")})"
  }
  descriptions = {
    for name, one in merge(local.measured, local.silent) : name =>
    "${one.about}${local.allowed[name]}. Type: ${local.playbook} ${one.type}"
  }
}

resource "aws_cloudwatch_metric_alarm" "measured" {
  for_each = local.measured

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = local.descriptions[each.key]
  namespace           = var.metrics_namespace
  metric_name         = each.value.metric
  dimensions          = local.dimensions[each.key]
  statistic           = each.value.statistic
  comparison_operator = local.comparison[each.value.allowed]
  threshold           = each.value.bound
  period              = each.value.period
  evaluation_periods  = each.value.looks
  datapoints_to_alarm = each.value.bad
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

# Created with their actions disabled. The runbook enables and disables the actions with the service, and Terraform keeps that.
resource "aws_cloudwatch_metric_alarm" "silent" {
  for_each = local.silent

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = local.descriptions[each.key]
  namespace           = var.metrics_namespace
  metric_name         = each.value.metric
  dimensions          = local.dimensions[each.key]
  statistic           = each.value.statistic
  comparison_operator = local.comparison[each.value.allowed]
  threshold           = each.value.bound
  period              = each.value.period
  evaluation_periods  = each.value.looks
  datapoints_to_alarm = each.value.bad
  treat_missing_data  = "breaching"
  actions_enabled     = false
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns

  lifecycle {
    ignore_changes = [actions_enabled]
  }
}
