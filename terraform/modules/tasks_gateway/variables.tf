variable "name" {
  description = "The prefix of the log groups and the role, such as task-service-production."
  type        = string
}

variable "rest_api_id" {
  description = "Id of the existing REST API through which users reach Laravel."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.rest_api_id))
    error_message = "rest_api_id: the id of a REST API (v1), lower-case letters and digits; an HTTP API has no canary."
  }
}

variable "api_resource_id" {
  description = "Id of the REST API's resource /api, below which the task routes are."
  type        = string
}

variable "stage_name" {
  description = "The stage that serves users."
  type        = string
}

variable "gateway_variable" {
  description = "The stage variable with the host of the task routes. No other integration uses it."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_]{1,58}$", var.gateway_variable))
    error_message = "gateway_variable: up to 58 letters, digits and _; phase 2.5 creates a variable whose name is 6 longer."
  }
}

variable "laravel_upstream" {
  description = "Laravel's host, with its port if needed: the variable's value before the migration. It must be the name in Laravel's certificate."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9.-]+(:[0-9]+)?$", var.laravel_upstream))
    error_message = "laravel_upstream: a host, with a port if needed, without a protocol or a path."
  }
}

variable "sets_account_logging" {
  description = "Whether this sets the role with which API Gateway writes logs. An account has one per region: false if something else sets it."
  type        = bool
}
