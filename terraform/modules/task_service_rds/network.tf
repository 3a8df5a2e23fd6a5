# Without inline rules, which conflict with the separate ones below. No outgoing rule: the server opens no connections.
resource "aws_security_group" "this" {
  name        = "${var.identifier}-database"
  description = "Who may connect to ${var.identifier}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "task_service" {
  security_group_id            = aws_security_group.this.id
  description                  = "the Task Service"
  referenced_security_group_id = var.task_service_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_vpc_security_group_ingress_rule" "temporary" {
  for_each = var.temporary_security_group_ids

  security_group_id            = aws_security_group.this.id
  description                  = "${each.key}, until the migration has ended"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}
