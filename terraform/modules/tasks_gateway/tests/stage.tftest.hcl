# Only plans and mock applies: nothing is created, and no account is needed.
mock_provider "aws" {
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:ap-northeast-1:123456789012:log-group:/aws/apigateway/task-service-staging" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/task-service-staging-gateway-logs" }
  }
}

variables {
  name                 = "task-service-staging"
  rest_api_id          = "abc123"
  api_resource_id      = "res456"
  stage_name           = "live"
  gateway_variable     = "tasksUpstream"
  laravel_upstream     = "laravel.staging.example.com"
  sets_account_logging = true
}

run "both_task_routes_take_their_host_from_the_stage_variable" {
  command = plan

  assert {
    condition     = aws_api_gateway_integration.tasks.uri == "https://$${stageVariables.tasksUpstream}/api/tasks"
    error_message = "The list."
  }
  assert {
    condition     = aws_api_gateway_integration.below.uri == "https://$${stageVariables.tasksUpstream}/api/tasks/{proxy}"
    error_message = "What is below it."
  }
  assert {
    condition     = aws_api_gateway_integration.below.request_parameters == tomap({ "integration.request.path.proxy" = "method.request.path.proxy" })
    error_message = "The rest of the path is forwarded."
  }
}

run "users_begin_at_laravel" {
  command = plan

  assert {
    condition     = aws_api_gateway_stage.this.variables == tomap({ tasksUpstream = "laravel.staging.example.com" })
    error_message = "The variable is Laravel's host."
  }
  assert {
    condition     = length(aws_api_gateway_stage.this.canary_settings) == 0 && !aws_api_gateway_stage.this.cache_cluster_enabled
    error_message = "Terraform creates no canary, and no cache that stage and canary would share."
  }
}

run "a_line_for_each_request_says_which_arm_it_took" {
  assert {
    condition     = jsondecode(aws_api_gateway_stage.this.access_log_settings[0].format).isCanaryRequest == "$context.isCanaryRequest"
    error_message = "isCanaryRequest."
  }
  assert {
    condition     = jsondecode(aws_api_gateway_stage.this.access_log_settings[0].format).requestId == "$context.requestId"
    error_message = "API Gateway refuses a format without requestId."
  }
  assert {
    condition     = output.access_log_groups.canary == "${output.access_log_groups.all}/Canary"
    error_message = "The canary's log group exists before the canary."
  }
}

run "each_route_and_method_is_counted_and_nothing_of_users_is_logged" {
  command = plan

  assert {
    condition     = aws_api_gateway_method_settings.this.method_path == "*/*" && aws_api_gateway_method_settings.this.settings[0].metrics_enabled
    error_message = "Detailed metrics."
  }
  assert {
    condition     = !aws_api_gateway_method_settings.this.settings[0].data_trace_enabled
    error_message = "No bodies in a log."
  }
}

run "sets_the_accounts_role_only_where_it_is_told_to" {
  command = plan
  variables {
    sets_account_logging = false
  }

  assert {
    condition     = length(aws_api_gateway_account.this) == 0 && length(aws_iam_role.logging) == 0
    error_message = "A role of another owner is not changed."
  }
}

run "a_host_with_a_protocol_is_refused" {
  command = plan
  variables {
    laravel_upstream = "https://laravel.staging.example.com"
  }
  expect_failures = [var.laravel_upstream]
}

run "a_variable_that_api_gateway_would_refuse_is_refused" {
  command = plan
  variables {
    gateway_variable = "tasks-upstream"
  }
  expect_failures = [var.gateway_variable]
}

run "an_http_api_is_refused" {
  command = plan
  variables {
    rest_api_id = "https://abc123.execute-api.ap-northeast-1.amazonaws.com"
  }
  expect_failures = [var.rest_api_id]
}
