# The bounds have the same names and values as in the inventories.
variable "migration_environment" {
  description = "The environment: the value of the metrics' dimension Environment, and a part of every name."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.migration_environment)
    error_message = "migration_environment: staging or production."
  }
}

variable "aws_region" {
  description = "The region of the metrics."
  type        = string
}

variable "db_instance" {
  description = "The Task Service's RDS instance, for the dashboard; its module creates its alarms."
  type        = string
}

variable "alarm_topic_arns" {
  description = "SNS topics that the alarms notify; [] for none."
  type        = list(string)

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:aws:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", arn))])
    error_message = "alarm_topic_arns: ARNs of SNS topics, such as arn:aws:sns:ap-northeast-1:123456789012:alerts."
  }
}

variable "metrics_namespace" {
  description = "The namespace of the runbook's metrics."
  type        = string
  default     = "TaskMigration"

  validation {
    condition     = can(regex("^[0-9A-Za-z._/#:-]{1,255}$", var.metrics_namespace)) && !startswith(var.metrics_namespace, "AWS/")
    error_message = "metrics_namespace: letters, digits and . _ / # : -, not starting with AWS/, as CloudWatch requires."
  }
}

variable "canary_error_rate_percent" {
  description = "The plan's bound for failed requests (6.3); the canary must stay below it."
  type        = number
  default     = 0.1
}

variable "canary_p95_ms" {
  description = "The plan's bound for the p95 of the Task Service's answers (6.2); the canary must stay below it."
  type        = number
  default     = 200
}

variable "canary_sync_latency_ms" {
  description = "The plan's bound for the time from Laravel to the Task Service (6.2); the p95 of each direction must stay below it."
  type        = number
  default     = 100
}

variable "canary_cpu_percent" {
  description = "The plan's bound for the database's CPU (6.2), for the dashboard."
  type        = number
  default     = 70
}

variable "trigger_error_rate_percent" {
  description = "The plan's share of failed requests to the API (5.1) above which the dual write is rolled back."
  type        = number
  default     = 5
}

variable "trigger_latency_ms" {
  description = "The plan's p95 (5.1) of the API and of the sync above which the dual write is rolled back."
  type        = number
  default     = 500
}

variable "consistency_every_seconds" {
  description = "How often both sides are compared; a check that is twice as old is too old."
  type        = number
  default     = 3600
}

variable "verdict_max_age_hours" {
  description = "The maximum age of phase 2.2's verdict for the next weight of the canary."
  type        = number
  default     = 24
}

variable "change_log_warn_entries" {
  description = "The maximum number of entries in the change log."
  type        = number
  default     = 100000
}

variable "standstill_seconds" {
  description = "How long a write may wait for the sync. A restart takes less time."
  type        = number
  default     = 60
}
