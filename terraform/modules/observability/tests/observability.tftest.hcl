# Only mock applies: nothing is created, and no account is needed.
mock_provider "aws" {
  mock_resource "aws_cloudwatch_metric_alarm" {
    defaults = { arn = "arn:aws:cloudwatch:ap-northeast-1:123456789012:alarm:one" }
  }
}

variables {
  migration_environment = "staging"
  aws_region            = "ap-northeast-1"
  db_instance           = "task-service-staging"
  alarm_topic_arns      = ["arn:aws:sns:ap-northeast-1:123456789012:alerts"]
}

run "every_bound_of_the_plan_has_its_alarm" {
  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.measured : name => alarm.threshold if contains([
      "sync-forward-latency", "sync-backward-latency", "canary-errors", "canary-latency", "api-errors", "api-latency", "differences", "dead-letters",
      ], name)
      } == {
      sync-forward-latency  = 100
      sync-backward-latency = 100
      canary-errors         = 0.1
      canary-latency        = 200
      api-errors            = 5
      api-latency           = 500
      differences           = 0
      dead-letters          = 0
    }
    error_message = "6.1: no difference; 6.2: sync below 100 ms, p95 below 200 ms; 6.3: errors below 0.1 %; 5.1: 5 % and 500 ms."
  }
  assert {
    condition     = alltrue([for name in ["sync-forward-latency", "canary-errors", "canary-latency"] : aws_cloudwatch_metric_alarm.measured[name].comparison_operator == "GreaterThanOrEqualToThreshold"])
    error_message = "\"Below\" does not allow the bound itself."
  }
  assert {
    condition     = alltrue([for name in ["api-errors", "api-latency", "differences"] : aws_cloudwatch_metric_alarm.measured[name].comparison_operator == "GreaterThanThreshold"])
    error_message = "A value above the bound is rolled back."
  }
  assert {
    condition     = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.measured) : alarm.datapoints_to_alarm <= alarm.evaluation_periods && alarm.period * alarm.evaluation_periods <= 86400])
    error_message = "CloudWatch refuses more datapoints to alarm than periods, and periods over more than a day."
  }
}

run "what_is_silent_rings_and_the_runbook_gives_it_its_voice" {
  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.silent)) == toset(["sync-forward-silent", "sync-backward-silent", "consistency-silent"])
    error_message = "Both syncs, and the check."
  }
  assert {
    condition     = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.silent) : alarm.treat_missing_data == "breaching" && !alarm.actions_enabled])
    error_message = "It is in alarm without data, and before phase 2.3 there is none."
  }
  assert {
    condition     = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.measured) : alarm.treat_missing_data != "breaching"])
    error_message = "One silence, one alarm."
  }
}

run "alarms_are_on_metrics_that_the_runbook_publishes_and_tell_the_topic" {
  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.measured), values(aws_cloudwatch_metric_alarm.silent)) :
      alarm.namespace == "TaskMigration" && alarm.dimensions.Environment == "staging" && contains(keys(local.metrics), alarm.metric_name)
      && contains(keys(alarm.dimensions), "Direction") == local.metrics[alarm.metric_name].directed
    ])
    error_message = "The metrics of metric_data.yml, with their dimensions."
  }
  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.measured), values(aws_cloudwatch_metric_alarm.silent)) :
      alarm.alarm_actions == toset(var.alarm_topic_arns) && alarm.ok_actions == toset(var.alarm_topic_arns)
    ])
    error_message = "Each notifies when it is in alarm and when it is not any more."
  }
  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.measured), values(aws_cloudwatch_metric_alarm.silent)) :
      strcontains(alarm.alarm_description, "Type: ansible-playbook -i ../inventories/staging ") && length(alarm.alarm_description) < 1024
    ])
    error_message = "Each description has the command to type."
  }
  assert {
    condition     = alltrue([for name in output.alarm_names : startswith(name, "task-service-staging-migration-")])
    error_message = "Apart from the alarms of phase 2.5 and of the database."
  }
}

run "every_metric_is_on_the_dashboard" {
  assert {
    condition = toset(flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [
        for metric in try(widget.properties.metrics, []) : metric[1] if metric[0] == "TaskMigration"
      ]
    ])) == toset(keys(local.metrics))
    error_message = "Every published metric is on the dashboard."
  }
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets[0].properties.alarms) == length(output.alarm_names)
    error_message = "All alarms, first."
  }
  assert {
    condition = alltrue([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.x + widget.width <= 24
    ])
    error_message = "A dashboard is 24 wide."
  }
  assert {
    condition     = strcontains(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets[1].properties.markdown, "canary-red | `watch.yml`")
    error_message = "The command is beside the alarm."
  }
}

run "bounds_are_the_inventorys" {
  variables {
    canary_p95_ms         = 350
    verdict_max_age_hours = 12
    metrics_namespace     = "Elsewhere"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.measured["canary-latency"].threshold == 350 && aws_cloudwatch_metric_alarm.measured["verify-old"].threshold == 43200
    error_message = "In the metric's unit."
  }
  assert {
    condition     = strcontains(aws_cloudwatch_metric_alarm.measured["canary-latency"].alarm_description, "(allowed: below 350 ms)")
    error_message = "The description has the bound."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.silent["sync-forward-silent"].namespace == "Elsewhere"
    error_message = "The namespace is the runbook's."
  }
}

run "a_namespace_of_awss_is_refused" {
  command = plan
  variables {
    metrics_namespace = "AWS/RDS"
  }
  expect_failures = [var.metrics_namespace]
}

run "an_environment_that_is_not_in_aws_is_refused" {
  command = plan
  variables {
    migration_environment = "local"
  }
  expect_failures = [var.migration_environment]
}

run "a_topic_that_is_none_is_refused" {
  command = plan
  variables {
    alarm_topic_arns = ["alerts"]
  }
  expect_failures = [var.alarm_topic_arns]
}
