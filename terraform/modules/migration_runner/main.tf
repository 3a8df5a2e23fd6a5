# An EC2 instance and not an ECS service: the sync is a systemd unit, with its configuration and its latency history on a
# disk, and operators open sessions here at night.
data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
}

resource "aws_instance" "this" {
  ami                         = data.aws_ssm_parameter.image.value
  instance_type               = "t4g.small"
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.this.id]
  associate_public_ip_address = false
  iam_instance_profile        = aws_iam_instance_profile.this.name
  disable_api_termination     = true

  # Requires tokens, and does not let them leave this machine.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    volume_type = "gp3"
    volume_size = 30
  }

  user_data = <<-EOT
    #!/bin/bash
    set -euo pipefail
    dnf install -y dnf-plugins-core git python3.11 tmux
    dnf config-manager --add-repo https://rpm.releases.hashicorp.com/AmazonLinux/hashicorp.repo
    dnf install -y terraform
    install -d -m 0750 /var/lib/task_migration
  EOT

  tags = { Name = var.name }

  # A newer image would replace the machine during the migration, without the sync's disk.
  lifecycle {
    ignore_changes = [ami, user_data]
  }
}

resource "aws_iam_role" "this" {
  name        = var.name
  description = "The sync, the checks and the watch, on the migration runner"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_instance_profile" "this" {
  name = var.name
  role = aws_iam_role.this.name
}

# Operators open sessions with Session Manager, so there is no SSH, no key and no incoming connection.
resource "aws_iam_role_policy_attachment" "sessions" {
  role       = aws_iam_role.this.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = var.policy_arns

  role       = aws_iam_role.this.name
  policy_arn = each.value
}
