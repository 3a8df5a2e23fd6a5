variable "name" {
  description = "Name of the runner."
  type        = string
}

variable "vpc_id" {
  description = "The VPC from which both databases can be reached."
  type        = string
}

variable "subnet_id" {
  description = "The private subnet, with outgoing HTTPS (a NAT gateway)."
  type        = string
}

variable "laravel_database" {
  description = "The security group and the port of Laravel's database."
  type        = object({ security_group_id = string, port = number })
}

variable "task_service_database" {
  description = "The security group and the port of the Task Service's database."
  type        = object({ security_group_id = string, port = number })
}

variable "policy_arns" {
  description = "Policies of the module iam for the runner, by purpose."
  type        = map(string)
}
