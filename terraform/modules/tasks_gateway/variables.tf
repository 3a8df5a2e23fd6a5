variable "name" {
  description = "What the log groups and the role are named after, such as task-service-production."
  type        = string
}

variable "rest_api_id" {
  description = "Id of the REST API that users reach Laravel through; it is there already."
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
  description = "The stage variable that the integrations of the task routes, and only they, take their host from."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_]{1,58}$", var.gateway_variable))
    error_message = "gateway_variable: up to 58 letters, digits and _; phase 2.5 makes another one, which is 6 longer."
  }
}

variable "laravel_upstream" {
  description = "Laravel's host, and perhaps its port: what the variable is before the migration. Its certificate bears this name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9.-]+(:[0-9]+)?$", var.laravel_upstream))
    error_message = "laravel_upstream: a host and perhaps a port, without a protocol or a path."
  }
}

variable "sets_account_logging" {
  description = "Whether this sets the role by which API Gateway writes logs. An account has one for each region: false where something else sets it."
  type        = bool
}
