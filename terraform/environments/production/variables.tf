variable "aws_region" {
  description = "The AWS region of everything."
  type        = string
}

variable "aws_account_id" {
  description = "The AWS account of everything. A login to another account is refused."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.aws_account_id))
    error_message = "aws_account_id: twelve digits, in quotation marks."
  }
}

variable "state_bucket" {
  description = "The bucket with this environment's Terraform state."
  type        = string
}

variable "vpc_id" {
  description = "The VPC of Laravel and the Task Service."
  type        = string
}

variable "database_subnet_ids" {
  description = "One private subnet for each zone of the plan, by the zone's name."
  type        = map(string)

  validation {
    condition     = toset(keys(var.database_subnet_ids)) == toset(["ap-northeast-1a", "ap-northeast-1c"])
    error_message = "database_subnet_ids: the plan's zones, ap-northeast-1a and ap-northeast-1c."
  }
}

variable "runner_subnet_id" {
  description = "The migration runner's private subnet, with outgoing HTTPS."
  type        = string
}

variable "task_service_security_group_id" {
  description = "The security group of the Task Service's containers."
  type        = string
}

variable "laravel_database_security_group_id" {
  description = "The security group of Laravel's database."
  type        = string
}

variable "laravel_database_port" {
  description = "The port of Laravel's database."
  type        = number
  default     = 5432
}

variable "gateway_rest_api_id" {
  description = "Id of the REST API through which users reach Laravel."
  type        = string
}

variable "gateway_api_resource_id" {
  description = "Id of its resource /api."
  type        = string
}

variable "gateway_stage" {
  description = "The stage that serves users."
  type        = string
}

variable "gateway_variable" {
  description = "The stage variable with the host of the task routes."
  type        = string
}

variable "laravel_upstream" {
  description = "Laravel's host: the variable's value before the migration."
  type        = string
}

variable "sets_account_logging" {
  description = "Whether this sets the role with which API Gateway writes logs in this account and region; false if something else sets it."
  type        = bool
  default     = false
}

variable "principal_arns" {
  description = "ARNs of the users or roles that may assume the roles observer, operator and break-glass."
  type        = set(string)
}

variable "alert_topic_arn" {
  description = "The SNS topic for alarms and alerts; \"\" for none."
  type        = string
  default     = ""
}

variable "laravel_flag" {
  description = "The SSM parameter and the ECS service that switch Laravel's flag; {} if it has none."
  type = object({
    parameter = optional(string, "")
    cluster   = optional(string, "")
    service   = optional(string, "")
  })
  default = {}
}

variable "runner_access" {
  description = "Whether the migration runner may connect to the databases; false after the migration."
  type        = bool
  default     = true
}

variable "metrics_namespace" {
  description = "The namespace of the runbook's metrics."
  type        = string
  default     = "TaskMigration"
}

variable "bounds" {
  description = "The bounds of the alarms: the inventory's values, by their names there."
  type = object({
    canary_error_rate_percent  = number
    canary_p95_ms              = number
    canary_sync_latency_ms     = number
    canary_cpu_percent         = number
    trigger_error_rate_percent = number
    trigger_latency_ms         = number
    consistency_every_seconds  = number
    verdict_max_age_hours      = number
    change_log_warn_entries    = number
  })
}
