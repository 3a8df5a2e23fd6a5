locals {
  # One line for each request. Only isCanaryRequest shows which side served it.
  access_log = {
    requestId        = "$context.requestId"
    time             = "$context.requestTime"
    isCanaryRequest  = "$context.isCanaryRequest"
    method           = "$context.httpMethod"
    path             = "$context.path"
    status           = "$context.status"
    latency          = "$context.responseLatency"
    upstreamStatus   = "$context.integration.status"
    upstreamLatency  = "$context.integration.latency"
    integrationError = "$context.integration.error"
    error            = "$context.error.message"
  }
}

# A deployment is a snapshot of the whole REST API, including Laravel's routes.
resource "aws_api_gateway_deployment" "this" {
  rest_api_id = var.rest_api_id

  # Ids and the file, not whole resources: those change when AWS has answered, and the second plan would deploy again.
  triggers = {
    routes = sha1(jsonencode([
      filesha1("${path.module}/routes.tf"),
      var.gateway_variable,
      aws_api_gateway_resource.tasks.id,
      aws_api_gateway_resource.below.id,
      aws_api_gateway_method.tasks.id,
      aws_api_gateway_method.below.id,
      aws_api_gateway_integration.tasks.id,
      aws_api_gateway_integration.below.id,
    ]))
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "this" {
  rest_api_id   = var.rest_api_id
  stage_name    = var.stage_name
  deployment_id = aws_api_gateway_deployment.this.id
  variables     = { (var.gateway_variable) = var.laravel_upstream }
  # Stage and canary have the same deployment and would share one cache, and thus each other's answers.
  cache_cluster_enabled = false

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.access_log)
  }

  depends_on = [aws_api_gateway_account.this, aws_cloudwatch_log_group.canary]

  lifecycle {
    # The runbook changes these. canary_settings: Terraform would remove a canary that it does not know, and its traffic.
    # variables, all of them: a promotion changes one, and phase 2.5 adds one that prevents break-glass.yml from sending
    # users to a Laravel that refuses every write. deployment_id: a promotion writes it, and a stage with a canary accepts
    # no deployment.
    ignore_changes = [canary_settings, variables, deployment_id]
  }
}

# Metrics of each route and method, with which the gate counts the users' requests. Logs have no bodies and no headers.
resource "aws_api_gateway_method_settings" "this" {
  rest_api_id = var.rest_api_id
  stage_name  = aws_api_gateway_stage.this.stage_name
  method_path = "*/*"

  settings {
    metrics_enabled    = true
    logging_level      = "ERROR"
    data_trace_enabled = false
  }
}
