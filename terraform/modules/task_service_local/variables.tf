variable "identifier" {
  description = "Name of the server."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.identifier))
    error_message = "identifier: lower-case letters, digits and hyphens, a letter first, 63 at most, as RDS wants it."
  }
}

variable "db_name" {
  description = "The database made with the server."
  type        = string
  default     = "task_service"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.db_name))
    error_message = "db_name: lower-case letters, digits and underscores, a letter first, 63 at most."
  }
}

variable "username" {
  description = "Master login, which owns the database; no superuser, as on RDS."
  type        = string
  default     = "task_service_admin"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.username)) && !contains(["postgres", "rdsadmin"], var.username)
    error_message = "username: lower-case letters, digits and underscores, a letter first, 63 at most; not postgres or rdsadmin."
  }
}

variable "port" {
  description = "Where the server listens."
  type        = number

  validation {
    condition     = var.port >= 1150 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port: a whole number from 1150 to 65535, as on RDS."
  }
}

variable "engine_version" {
  description = "PostgreSQL's major version; must be that of the installed binaries."
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
  description = "Where the server is made: an absolute path, given over to it altogether."
  type        = string

  validation {
    condition     = startswith(var.directory, "/") && length(var.directory) > 1
    error_message = "directory: an absolute path, since Terraform and the server have working directories of their own."
  }
}
