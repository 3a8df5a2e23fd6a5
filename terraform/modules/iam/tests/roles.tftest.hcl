# Only plans and mock applies: nothing is created, and no account is needed. tests/terraform/test_terraform_iam.py tests the permissions.
mock_provider "aws" {
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/task-service-staging" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/task-service-staging" }
  }
}

variables {
  name                  = "task-service-staging"
  aws_region            = "ap-northeast-1"
  aws_account_id        = "123456789012"
  principal_arns        = ["arn:aws:iam::123456789012:user/night"]
  rest_api_id           = "abc123"
  stage_name            = "live"
  database_identifier   = "task-service-staging"
  access_log_group_arns = ["arn:aws:logs:ap-northeast-1:123456789012:log-group:/aws/apigateway/task-service-staging"]
  runner_arn            = "arn:aws:ec2:ap-northeast-1:123456789012:instance/i-1"
  state                 = { bucket = "terraform-states", key = "task-service/staging.tfstate" }
}

run "every_role_takes_a_second_factor_and_ends" {
  command = plan

  assert {
    condition     = keys(aws_iam_role.this) == ["break-glass", "observer", "operator"]
    error_message = "Three roles."
  }
  assert {
    condition     = alltrue([for role in aws_iam_role.this : jsondecode(role.assume_role_policy).Statement[0].Condition.Bool["aws:MultiFactorAuthPresent"] == "true"])
    error_message = "A second factor."
  }
  assert {
    condition     = alltrue([for role in aws_iam_role.this : jsondecode(role.assume_role_policy).Statement[0].Principal.AWS == ["arn:aws:iam::123456789012:user/night"]])
    error_message = "Only the named principals."
  }
  assert {
    condition     = aws_iam_role.this["break-glass"].max_session_duration == 3600 && aws_iam_role.this["operator"].max_session_duration == 14400
    error_message = "An hour, a night."
  }
}

run "no_statement_is_without_a_resource" {
  command = plan

  assert {
    condition = alltrue(flatten([for policy in aws_iam_policy.this : [
      for one in jsondecode(policy.policy).Statement : length(try(one.Resource, one.NotResource)) > 0
    ]]))
    error_message = "AWS refuses an empty list, as without a flag of Laravel's and without a topic."
  }
}

run "all_roles_are_denied_dangerous_actions" {
  command = plan

  assert {
    condition     = alltrue([for role in keys(aws_iam_role.this) : contains(keys(aws_iam_role_policy_attachment.this), "${role} never")])
    error_message = "The denials override every other permission."
  }
}

run "tells_the_roles" {
  assert {
    condition     = keys(output.role_arns) == ["break-glass", "observer", "operator"] && length(output.runner_policy_arns) == 6
    error_message = "What to assume, and what the runner is given."
  }
}

run "an_asterisk_as_a_principal_is_refused" {
  command = plan
  variables {
    principal_arns = ["arn:aws:iam::123456789012:user/*"]
  }
  expect_failures = [var.principal_arns]
}
