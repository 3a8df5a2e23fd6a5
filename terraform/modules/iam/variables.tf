variable "name" {
  description = "The prefix of roles and policies, and of the runbook's alarms, such as task-service-production."
  type        = string
}

variable "aws_region" {
  description = "The AWS region of everything."
  type        = string
}

variable "aws_account_id" {
  description = "The AWS account of everything."
  type        = string
}

variable "principal_arns" {
  description = "ARNs of the users or roles that may assume the roles. They must have logged in with a second factor."
  type        = set(string)

  validation {
    condition     = length(var.principal_arns) > 0 && alltrue([for arn in var.principal_arns : can(regex("^arn:aws:iam::[0-9]{12}:(user|role)/[^*]+$", arn))])
    error_message = "principal_arns: ARNs of users or roles, at least one and none with an asterisk."
  }
}

variable "rest_api_id" {
  description = "The REST API of the stage that routes the traffic."
  type        = string
}

variable "stage_name" {
  description = "The only stage that may be changed."
  type        = string
}

variable "database_identifier" {
  description = "The Task Service's server, whose secret may be read."
  type        = string
}

variable "access_log_group_arns" {
  description = "ARNs of the stage's log groups, which may be searched."
  type        = list(string)
}

variable "runner_arn" {
  description = "ARN of the migration runner, on which operators open sessions."
  type        = string
}

variable "state" {
  description = "The environment's Terraform state: its bucket, and its object."
  type        = object({ bucket = string, key = string })
}

variable "alert_topic_arn" {
  description = "The SNS topic of the runbook's alerts; \"\" for none."
  type        = string
  default     = ""
}

variable "metrics_namespace" {
  description = "The only namespace in which the runbook may publish metrics."
  type        = string
  default     = "TaskMigration"
}

variable "laravel_flag" {
  description = "The SSM parameter (its name) and the ECS service (its cluster and name) that switch Laravel's flag; {} if it has none."
  type = object({
    parameter = optional(string, "")
    cluster   = optional(string, "")
    service   = optional(string, "")
  })
  default = {}
}
