# One page for the night: the alarms and what to type for each, then users, the sync and the checks. A red line is a bound.
locals {
  alarms = merge(aws_cloudwatch_metric_alarm.measured, aws_cloudwatch_metric_alarm.silent)
  types  = { for name, one in merge(local.measured, local.silent) : name => one.type }

  # Rows of graphs, from the left. A metric with a direction is drawn for both directions.
  rows = [
    [
      { title = "Users: failed requests since the weight was set, %", metrics = ["CanaryErrorRate"], bounds = [var.canary_error_rate_percent] },
      { title = "Users: p95 of the Task Service's answers, ms", metrics = ["CanaryLatencyP95"], bounds = [var.canary_p95_ms] },
      { title = "Traffic to the Task Service, %", metrics = ["CanaryWeight"], bounds = [] },
    ],
    [
      { title = "Sync: p95 from a write to its commit, ms", metrics = ["SyncLatencyP95"], bounds = [var.canary_sync_latency_ms, var.trigger_latency_ms] },
      { title = "Sync: age of the oldest write, s", metrics = ["SyncOldestWrite"], bounds = [var.standstill_seconds] },
      { title = "Sync: entries on the change log", metrics = ["SyncQueueDepth"], bounds = [var.change_log_warn_entries] },
    ],
    [
      { title = "Sync: running (1)", metrics = ["SyncHealthy"], bounds = [], statistic = "Minimum" },
      { title = "Sync: synced per minute", metrics = ["SyncApplied"], bounds = [], statistic = "Sum" },
      { title = "Sync: failed, and conflicts, per minute", metrics = ["SyncFailed", "SyncConflicts"], bounds = [], statistic = "Sum" },
    ],
    [
      { title = "Verdicts: green 1, unknown 0, red -1", metrics = ["CanaryVerdict", "ConsistencyVerdict", "VerifyVerdict"], bounds = [], statistic = "Minimum" },
      { title = "Rows that differ, or could not be synced", metrics = ["ConsistencyDifferences", "DeadLetters"], bounds = [1] },
      { title = "Age of the newest check, s", metrics = ["ConsistencyAge"], bounds = [2 * var.consistency_every_seconds] },
    ],
    [
      { title = "API: failed requests, %", metrics = ["ApiErrorRate"], bounds = [var.trigger_error_rate_percent] },
      { title = "API: p95, ms", metrics = ["ApiLatencyP95"], bounds = [var.trigger_latency_ms] },
      { title = "Age of phase 2.2's verdict, s", metrics = ["VerifyVerdictAge"], bounds = [var.verdict_max_age_hours * 3600] },
    ],
    [
      { title = "Rows compared", metrics = ["ConsistencyRows"], bounds = [] },
      { title = "Duration of a check, s", metrics = ["ConsistencyDuration"], bounds = [] },
      { title = "Time at 100 %, s", metrics = ["SoakDuration"], bounds = [] },
    ],
  ]

  graphs = flatten([
    for row, graphs in local.rows : [
      for column, graph in graphs : {
        type = "metric", x = 8 * column, y = 12 + 6 * row, width = 8, height = 6
        properties = {
          title  = graph.title
          region = var.aws_region
          view   = "timeSeries"
          period = 60
          stat   = try(graph.statistic, "Maximum")
          metrics = concat([
            for name in graph.metrics : [
              for direction in local.metrics[name].directed ? ["forward", "backward"] : [""] : concat(
                [var.metrics_namespace, name, "Environment", var.migration_environment],
                direction == "" ? [] : ["Direction", direction],
              )
            ]
          ]...)
          annotations = { horizontal = [for bound in graph.bounds : { value = bound, color = "#d62728" }] }
        }
      }
    ]
  ])
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = local.name
  dashboard_body = jsonencode({
    start          = "-PT3H"
    periodOverride = "inherit"
    widgets = concat(
      [
        {
          type       = "alarm", x = 0, y = 0, width = 12, height = 12
          properties = { title = "Alarms", alarms = [for name in sort(keys(local.alarms)) : local.alarms[name].arn] }
        },
        {
          type = "text", x = 12, y = 0, width = 12, height = 12
          properties = {
            markdown = join("\n", concat(
              [
                "# Task migration, ${var.migration_environment}",
                "If users are affected: `${local.playbook} break-glass.yml` sends all traffic to Laravel within a second. Otherwise check first: `${local.playbook} status.yml`.",
                "",
                "alarm | type `${local.playbook} ...`",
                "---|---",
              ],
              [for name in sort(keys(local.types)) : "${name} | `${local.types[name]}`"],
            ))
          }
        },
      ],
      local.graphs,
      [
        {
          type = "metric", x = 0, y = 12 + 6 * length(local.rows), width = 8, height = 6
          properties = {
            title       = "The Task Service's database: CPU, %"
            region      = var.aws_region
            view        = "timeSeries"
            period      = 60
            stat        = "Average"
            metrics     = [["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", var.db_instance]]
            annotations = { horizontal = [{ value = var.canary_cpu_percent, color = "#d62728" }] }
          }
        },
      ],
    )
  })
}
