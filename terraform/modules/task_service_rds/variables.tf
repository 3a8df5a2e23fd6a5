variable "identifier" {
  description = "Name of the server."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.identifier)) && length(var.identifier) <= 40
    error_message = "identifier: at most 40 lower-case letters, digits and single hyphens, starting with a letter: the final snapshot's name is longer."
  }
}

variable "db_name" {
  description = "The database that is created with the server."
  type        = string
  default     = "task_service"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.db_name))
    error_message = "db_name: at most 63 lower-case letters, digits and underscores, starting with a letter."
  }
}

variable "username" {
  description = "The master login, which owns the database; not a superuser."
  type        = string
  default     = "task_service_admin"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.username)) && !contains(["postgres", "rdsadmin"], var.username)
    error_message = "username: at most 63 lower-case letters, digits and underscores, starting with a letter; not postgres or rdsadmin."
  }
}

variable "port" {
  description = "The server's port."
  type        = number
  default     = 5432

  validation {
    condition     = var.port >= 1150 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port: a whole number from 1150 to 65535, as on RDS."
  }
}

variable "engine_version" {
  description = "PostgreSQL's major version; RDS updates the minor version in the maintenance window."
  type        = string
  default     = "18"

  validation {
    condition     = can(regex("^[0-9]{2}$", var.engine_version))
    error_message = "engine_version: a major version of PostgreSQL, such as \"18\"."
  }
}

variable "vpc_id" {
  description = "The VPC of the server."
  type        = string
}

variable "subnet_ids" {
  description = "One private subnet for each availability zone of the server and its standby, by the zone's name."
  type        = map(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids: at least two availability zones, one for the standby."
  }
}

variable "task_service_security_group_id" {
  description = "The security group of the Task Service's containers, which may connect."
  type        = string

  validation {
    condition     = startswith(var.task_service_security_group_id, "sg-")
    error_message = "task_service_security_group_id: the id of a security group, not addresses."
  }
}

variable "temporary_security_group_ids" {
  description = "Security groups that may connect during the migration, by purpose; {} afterwards."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether RDS refuses to delete the server; false only where a test destroys and recreates it."
  type        = bool
  default     = true
}

variable "alarm_topic_arns" {
  description = "SNS topics that the alarms notify; [] for none."
  type        = set(string)
  default     = []
}
