# There is no incoming rule.
resource "aws_security_group" "this" {
  name        = var.name
  description = "The migration runner"
  vpc_id      = var.vpc_id
}

# For AWS, the applications' load balancers, and the registries from which the runbook is installed. None has fixed addresses.
resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "HTTPS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# Two resources and not one with for_each: when the Task Service's database is destroyed and recreated, its rule is too,
# and this machine must not lose Laravel's database meanwhile.
resource "aws_vpc_security_group_egress_rule" "laravel" {
  security_group_id            = aws_security_group.this.id
  description                  = "Laravel, its database"
  referenced_security_group_id = var.laravel_database.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.laravel_database.port
  to_port                      = var.laravel_database.port
}

resource "aws_vpc_security_group_egress_rule" "task_service" {
  security_group_id            = aws_security_group.this.id
  description                  = "the Task Service, its database"
  referenced_security_group_id = var.task_service_database.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.task_service_database.port
  to_port                      = var.task_service_database.port
}
