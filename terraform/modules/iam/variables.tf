variable "name" {
  description = "What roles and policies are named after, and what the runbook's alarms begin with, such as task-service-production."
  type        = string
}

variable "aws_region" {
  description = "Where everything is."
  type        = string
}

variable "aws_account_id" {
  description = "The account that everything is in."
  type        = string
}

variable "principal_arns" {
  description = "Who may take the roles: users or roles of people, by ARN. They have to have logged in with a second factor."
  type        = set(string)

  validation {
    condition     = length(var.principal_arns) > 0 && alltrue([for arn in var.principal_arns : can(regex("^arn:aws:iam::[0-9]{12}:(user|role)/[^*]+$", arn))])
    error_message = "principal_arns: ARNs of users or roles, at least one and none with an asterisk."
  }
}

variable "rest_api_id" {
  description = "The REST API whose stage moves the traffic."
  type        = string
}

variable "stage_name" {
  description = "The one stage that may be changed."
  type        = string
}

variable "database_identifier" {
  description = "Name of the Task Service's server, whose secret may be read."
  type        = string
}

variable "access_log_group_arns" {
  description = "The log groups of the stage, which may be searched."
  type        = list(string)
}

variable "runner_arn" {
  description = "The migration runner, on which operators open sessions."
  type        = string
}

variable "state" {
  description = "Where the environment's Terraform state is: the bucket, and the object in it."
  type        = object({ bucket = string, key = string })
}

variable "alert_topic_arn" {
  description = "The SNS topic of the runbook's alerts; \"\" for none."
  type        = string
  default     = ""
}

variable "metrics_namespace" {
  description = "Where the runbook publishes its metrics, and may publish nowhere else."
  type        = string
  default     = "TaskMigration"
}

variable "laravel_flag" {
  description = "The SSM parameter (its name) and the ECS service (its cluster and name) by which Laravel's flag is turned; {} if it has none."
  type = object({
    parameter = optional(string, "")
    cluster   = optional(string, "")
    service   = optional(string, "")
  })
  default = {}
}
