# Looked up with its zone and its VPC, so that the plan fails for a subnet of another zone.
data "aws_subnet" "this" {
  for_each = var.subnet_ids

  id                = each.value
  availability_zone = each.key
  vpc_id            = var.vpc_id
}

resource "aws_db_subnet_group" "this" {
  name        = var.identifier
  description = "Where ${var.identifier} and its standby may be"
  subnet_ids  = [for subnet in data.aws_subnet.this : subnet.id]
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.identifier}-pg${var.engine_version}-"
  description = "TLS for everybody, and what to write to the log"
  family      = "postgres${var.engine_version}"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  # One line for each session, with user, database, host and duration.
  parameter {
    name  = "log_disconnections"
    value = "1"
  }
  parameter {
    name  = "log_lock_waits"
    value = "1"
  }
  parameter {
    name  = "log_statement"
    value = "ddl"
  }
  parameter {
    name  = "log_min_duration_statement"
    value = "500" # milliseconds
  }

  # Another major version needs another group, and the server switches before the old group is destroyed.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  identifier     = var.identifier
  engine         = "postgres"
  engine_version = var.engine_version
  instance_class = "db.t4g.micro"
  multi_az       = true

  # gp3 below 400 GiB has a fixed speed, and RDS refuses other values. Storage never shrinks.
  storage_type          = "gp3"
  allocated_storage     = 20
  max_allocated_storage = 100
  # With the account's key for RDS (aws/rds): it remains after the server, so its snapshots can be read.
  storage_encrypted = true

  db_name  = var.db_name
  username = var.username
  port     = var.port
  # RDS creates, stores and rotates it in Secrets Manager, so it is in no variable, plan or state.
  manage_master_user_password         = true
  iam_database_authentication_enabled = true

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.this.name
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  # Point-in-time recovery needs a retention. The times are UTC: 03:00 and, on Mondays, 04:30 in Tokyo.
  backup_retention_period    = 14
  backup_window              = "18:00-18:30"
  maintenance_window         = "sun:19:30-sun:20:00"
  auto_minor_version_upgrade = true
  apply_immediately          = false
  copy_tags_to_snapshot      = true

  deletion_protection      = var.deletion_protection
  delete_automated_backups = false
  skip_final_snapshot      = false
  # RDS refuses the name of an existing snapshot. This name has the time when the server was created, so it is unique.
  final_snapshot_identifier = "${var.identifier}-${formatdate("YYYYMMDDhhmmss", plantimestamp())}"

  performance_insights_enabled          = true
  performance_insights_retention_period = 7 # days; more costs
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]

  depends_on = [aws_cloudwatch_log_group.this]

  lifecycle {
    ignore_changes = [final_snapshot_identifier]
  }
}

# Otherwise RDS would create them without a retention.
resource "aws_cloudwatch_log_group" "this" {
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${var.identifier}/${each.key}"
  retention_in_days = 90
}
