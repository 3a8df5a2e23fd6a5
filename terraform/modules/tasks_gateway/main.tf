locals {
  # One line for each request. isCanaryRequest is the only thing in it that tells both sides apart.
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

# A deployment is the whole REST API as it is at that moment, Laravel's routes among it.
resource "aws_api_gateway_deployment" "this" {
  rest_api_id = var.rest_api_id

  # Ids and the file, not whole resources: those differ once AWS has answered, and the second plan would deploy again.
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
  # Both arms of a canary have one deployment, and so would share one cache: either's answer could be the other's.
  cache_cluster_enabled = false

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.access_log)
  }

  depends_on = [aws_api_gateway_account.this, aws_cloudwatch_log_group.canary]

  lifecycle {
    # The runbook's. canary_settings: Terraform would take a canary away that it does not know, and with it the users' way.
    # variables, all of them: a promotion changes the one, and phase 2.5 adds the one that keeps break-glass.yml from
    # sending users to a Laravel that refuses every write. deployment_id: a promotion writes it, and no deployment may come
    # while a canary is there.
    ignore_changes = [canary_settings, variables, deployment_id]
  }
}

# Metrics of each route and method: the gate counts the users' requests by them. No bodies and no headers in any log.
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
