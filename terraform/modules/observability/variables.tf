# Bounds bear the names that they have in the inventories, and the same values.
variable "migration_environment" {
  description = "Which environment: what the metrics' dimension Environment says, and part of every name."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.migration_environment)
    error_message = "migration_environment: staging or production."
  }
}

variable "aws_region" {
  description = "Where the metrics are."
  type        = string
}

variable "db_instance" {
  description = "The Task Service's RDS instance, for the dashboard; its alarms are made with it."
  type        = string
}

variable "alarm_topic_arns" {
  description = "SNS topics that the alarms tell; [] for none."
  type        = list(string)

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:aws:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", arn))])
    error_message = "alarm_topic_arns: ARNs of SNS topics, such as arn:aws:sns:ap-northeast-1:123456789012:alerts."
  }
}

variable "metrics_namespace" {
  description = "Where the runbook publishes."
  type        = string
  default     = "TaskMigration"

  validation {
    condition     = can(regex("^[0-9A-Za-z._/#:-]{1,255}$", var.metrics_namespace)) && !startswith(var.metrics_namespace, "AWS/")
    error_message = "metrics_namespace: letters, digits and . _ / # : -, and not AWS/ first, as CloudWatch wants it."
  }
}

variable "canary_error_rate_percent" {
  description = "The plan's share of failed requests (6.3), which the canary must stay below."
  type        = number
  default     = 0.1
}

variable "canary_p95_ms" {
  description = "The plan's p95 of the Task Service's answers (6.2), which the canary must stay below."
  type        = number
  default     = 200
}

variable "canary_sync_latency_ms" {
  description = "The plan's time from Laravel to the Task Service (6.2), which the p95 of each direction must stay below."
  type        = number
  default     = 100
}

variable "canary_cpu_percent" {
  description = "The plan's CPU of the database (6.2), for the dashboard."
  type        = number
  default     = 70
}

variable "trigger_error_rate_percent" {
  description = "The plan's share of failed requests to the API (5.1) above which the dual write is taken back."
  type        = number
  default     = 5
}

variable "trigger_latency_ms" {
  description = "The plan's p95 (5.1) of the API and of the sync above which the dual write is taken back."
  type        = number
  default     = 500
}

variable "consistency_every_seconds" {
  description = "How often both sides are compared; a check twice as old is too old."
  type        = number
  default     = 3600
}

variable "verdict_max_age_hours" {
  description = "How old phase 2.2's verdict may be for the next weight of the canary."
  type        = number
  default     = 24
}

variable "change_log_warn_entries" {
  description = "How many entries the change log may hold."
  type        = number
  default     = 100000
}

variable "standstill_seconds" {
  description = "How long a write may wait for the sync. A restart is over by then."
  type        = number
  default     = 60
}
