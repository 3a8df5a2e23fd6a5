# The permissions, by purpose. Actions that can change something are listed one by one.
locals {
  apigateway = "arn:aws:apigateway:${var.aws_region}:"
  rest_api   = "${local.apigateway}:/restapis/${var.rest_api_id}"
  stage      = "${local.rest_api}/stages/${var.stage_name}"
  here       = "${var.aws_region}:${var.aws_account_id}"
  database   = "arn:aws:rds:${local.here}:db:${var.database_identifier}"
  flag       = var.laravel_flag.parameter == "" ? [] : ["arn:aws:ssm:${local.here}:parameter/${trimprefix(var.laravel_flag.parameter, "/")}"]
  service    = var.laravel_flag.service == "" ? [] : ["arn:aws:ecs:${local.here}:service/${var.laravel_flag.cluster}/${var.laravel_flag.service}"]
  alarm      = "arn:aws:cloudwatch:${local.here}:alarm"
  topic      = compact([var.alert_topic_arn])
  state      = "arn:aws:s3:::${var.state.bucket}/${var.state.key}"

  # AWS refuses a statement without resources, so such statements are left out.
  statements = { for purpose, statements in local.all : purpose => [for one in statements : one if try(length(one.Resource) > 0, true)] }

  all = {
    look = [
      { Effect = "Allow", Action = ["apigateway:GET"], Resource = [local.rest_api, "${local.rest_api}/*"] },
      { Effect = "Allow", Action = ["cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "cloudwatch:DescribeAlarms"], Resource = ["*"] },
      { Effect = "Allow", Action = ["logs:StartQuery", "logs:FilterLogEvents"], Resource = [for arn in var.access_log_group_arns : "${arn}:*"] },
      { Effect = "Allow", Action = ["logs:GetQueryResults", "logs:StopQuery"], Resource = ["*"] },
      {
        Effect = "Allow"
        Action = [
          "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeRules",
          "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
          "rds:DescribeDBInstances", "rds:DescribeEvents",
        ]
        Resource = ["*"]
      },
      { Effect = "Allow", Action = ["ssm:GetParameter", "ssm:GetParameterHistory"], Resource = local.flag },
      { Effect = "Allow", Action = ["ecs:DescribeServices"], Resource = local.service },
    ]
    # PATCH cannot be limited to the canary. It is limited to the one stage, and by the length of a session.
    traffic = [
      { Effect = "Allow", Action = ["apigateway:GET", "apigateway:PATCH"], Resource = [local.stage] },
    ]
    operate = [
      { Effect = "Allow", Action = ["ssm:PutParameter"], Resource = local.flag },
      { Effect = "Allow", Action = ["ecs:UpdateService"], Resource = local.service },
      { Effect = "Allow", Action = ["sns:Publish"], Resource = local.topic },
      { Effect = "Allow", Action = ["cloudwatch:PutMetricAlarm"], Resource = [for name in ["errors", "p95", "cpu", "targets"] : "${local.alarm}:${var.name}-${name}"] },
      { Effect = "Allow", Action = ["cloudwatch:EnableAlarmActions", "cloudwatch:DisableAlarmActions"], Resource = ["${local.alarm}:${var.name}-migration-*-silent"] },
      {
        Effect    = "Allow"
        Action    = ["cloudwatch:PutMetricData"]
        Resource  = ["*"]
        Condition = { StringEquals = { "cloudwatch:namespace" = var.metrics_namespace } }
      },
      # Selected by RDS's tag and not by ARN, because a recreated database has a secret with another ARN.
      {
        Effect    = "Allow"
        Action    = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
        Resource  = ["arn:aws:secretsmanager:${local.here}:secret:rds!db-*"]
        Condition = { StringEquals = { "aws:ResourceTag/aws:rds:primaryDBInstanceArn" = local.database } }
      },
    ]
    # The logins of database-roles.yml, on any database with IAM authentication: a recreated one has another resource id.
    logins = [
      { Effect = "Allow", Action = ["rds-db:connect"], Resource = ["arn:aws:rds-db:${local.here}:dbuser:*/task_migration_*"] },
    ]
    read = [
      { Effect = "Allow", Action = ["rds-db:connect"], Resource = ["arn:aws:rds-db:${local.here}:dbuser:*/task_migration_reader"] },
    ]
    # Enough for phase 2.1 to check that everything exists: it runs terraform plan with the lock, and writes no state.
    plan = [
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = ["arn:aws:s3:::${var.state.bucket}"] },
      { Effect = "Allow", Action = ["s3:GetObject"], Resource = [local.state] },
      { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], Resource = ["${local.state}.tflock"] },
      {
        Effect = "Allow"
        Action = [
          "cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource", "ec2:Describe*", "iam:Get*", "iam:List*", "logs:DescribeLogGroups",
          "logs:ListTagsForResource", "rds:Describe*", "rds:ListTagsForResource",
        ]
        Resource = ["*"]
      },
      { Effect = "Allow", Action = ["apigateway:GET"], Resource = ["${local.apigateway}:/account", "${local.apigateway}:/tags/*"] },
      { Effect = "Allow", Action = ["ssm:GetParameter"], Resource = ["arn:aws:ssm:${var.aws_region}::parameter/aws/service/ami-amazon-linux-latest/*"] },
    ]
    session = [
      { Effect = "Allow", Action = ["ssm:StartSession"], Resource = [var.runner_arn, "arn:aws:ssm:${local.here}:document/SSM-SessionManagerRunShell"] },
      { Effect = "Allow", Action = ["ssm:ResumeSession", "ssm:TerminateSession"], Resource = ["arn:aws:ssm:${local.here}:session/$${aws:userid}-*"] },
    ]
    # Denials, which override any permission that is added later.
    never = [
      { Effect = "Deny", Action = ["rds:Delete*", "rds:Modify*", "rds:Reboot*", "rds:Restore*", "rds:Stop*"], Resource = ["*"] },
      { Effect = "Deny", Action = ["apigateway:DELETE", "apigateway:POST", "apigateway:PUT"], Resource = ["*"] },
      { Effect = "Deny", Action = ["apigateway:PATCH"], NotResource = [local.stage] },
      {
        Effect = "Deny"
        Action = [
          "secretsmanager:DeleteSecret", "secretsmanager:PutSecretValue", "secretsmanager:RotateSecret", "secretsmanager:UpdateSecret",
        ]
        Resource = ["*"]
      },
      merge(
        { Effect = "Deny", Action = ["ssm:DeleteParameter", "ssm:PutParameter"] },
        # Two forms of one statement: all parameters except one, or all.
        jsondecode(length(local.flag) > 0 ? jsonencode({ NotResource = local.flag }) : jsonencode({ Resource = ["*"] })),
      ),
      { Effect = "Deny", Action = ["s3:DeleteObject", "s3:PutObject"], Resource = [local.state] },
    ]
  }
}
