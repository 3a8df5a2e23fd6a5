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

variable "databases" {
  description = "Where the runner may connect, by name: each database's security group and port."
  type        = map(object({ security_group_id = string, port = number }))
}

variable "policy_arns" {
  description = "What the runner may do in AWS, by purpose: policies of the module iam."
  type        = map(string)
}
