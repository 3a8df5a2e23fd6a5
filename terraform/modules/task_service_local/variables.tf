variable "identifier" {
  description = "Name of the server."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.identifier))
    error_message = "identifier: at most 63 lower-case letters, digits and hyphens, starting with a letter, as RDS requires."
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
  description = "The master login, which owns the database; not a superuser, as on RDS."
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

  validation {
    condition     = var.port >= 1150 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port: a whole number from 1150 to 65535, as on RDS."
  }
}

variable "engine_version" {
  description = "PostgreSQL's major version: the one of the installed binaries."
  type        = string
  default     = "18"

  validation {
    condition     = can(regex("^[0-9]{2}$", var.engine_version))
    error_message = "engine_version: a major version of PostgreSQL, such as \"18\"."
  }
}

variable "python" {
  description = "The Python interpreter in which this project is installed with its extra \"lab\"."
  type        = string

  validation {
    condition     = length(var.python) > 0
    error_message = "python: the path of an interpreter."
  }
}

variable "directory" {
  description = "The server's directory: an absolute path, used by nothing else."
  type        = string

  validation {
    condition     = startswith(var.directory, "/") && length(var.directory) > 1
    error_message = "directory: an absolute path, because Terraform and the server have different working directories."
  }
}
