locals {
  roles = {
    observer = {
      description = "Reads everything and changes nothing"
      policies    = ["look", "read", "never"]
      hours       = 8
    }
    operator = {
      description = "Runs the phases: shifts traffic, switches Laravel's flag, opens sessions on the runner"
      policies    = ["look", "traffic", "operate", "logins", "plan", "session", "never"]
      hours       = 4
    }
    break-glass = {
      description = "Sends all traffic to Laravel, and does nothing else"
      policies    = ["traffic", "never"]
      hours       = 1
    }
  }
  attachments = merge([for role, one in local.roles : { for policy in one.policies : "${role} ${policy}" => { role = role, policy = policy } }]...)
}

resource "aws_iam_policy" "this" {
  for_each = local.statements

  name   = "${var.name}-${each.key}"
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name                 = "${var.name}-${each.key}"
  description          = each.value.description
  max_session_duration = each.value.hours * 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = sort(var.principal_arns) }
      Condition = {
        Bool            = { "aws:MultiFactorAuthPresent" = "true" }
        NumericLessThan = { "aws:MultiFactorAuthAge" = "3600" }
      }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = local.attachments

  role       = aws_iam_role.this[each.value.role].name
  policy_arn = aws_iam_policy.this[each.value.policy].arn
}
