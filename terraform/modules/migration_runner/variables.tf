variable "name" {
  description = "Name of the runner."
  type        = string
}

variable "vpc_id" {
  description = "The VPC that both databases are reached from."
  type        = string
}

variable "subnet_id" {
  description = "A private subnet with a way out for HTTPS (a NAT gateway)."
  type        = string
}

variable "laravel_database" {
  description = "Where Laravel's database is reached: its security group and its port."
  type        = object({ security_group_id = string, port = number })
}

variable "task_service_database" {
  description = "Where the Task Service's database is reached: its security group and its port."
  type        = object({ security_group_id = string, port = number })
}

variable "policy_arns" {
  description = "What the runner may do in AWS, by purpose: policies of the module iam."
  type        = map(string)
}
