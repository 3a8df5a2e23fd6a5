# The task routes. Both take their host from the stage variable, so a canary that overrides it affects only these routes.
# A change of this file creates a new deployment.
resource "aws_api_gateway_resource" "tasks" {
  rest_api_id = var.rest_api_id
  parent_id   = var.api_resource_id
  path_part   = "tasks"
}

resource "aws_api_gateway_resource" "below" {
  rest_api_id = var.rest_api_id
  parent_id   = aws_api_gateway_resource.tasks.id
  path_part   = "{proxy+}"
}

# Laravel and the Task Service authorize each request themselves, by the token that is forwarded.
resource "aws_api_gateway_method" "tasks" {
  rest_api_id   = var.rest_api_id
  resource_id   = aws_api_gateway_resource.tasks.id
  http_method   = "ANY"
  authorization = "NONE"
}

resource "aws_api_gateway_method" "below" {
  rest_api_id        = var.rest_api_id
  resource_id        = aws_api_gateway_resource.below.id
  http_method        = "ANY"
  authorization      = "NONE"
  request_parameters = { "method.request.path.proxy" = true }
}

resource "aws_api_gateway_integration" "tasks" {
  rest_api_id             = var.rest_api_id
  resource_id             = aws_api_gateway_resource.tasks.id
  http_method             = aws_api_gateway_method.tasks.http_method
  type                    = "HTTP_PROXY"
  integration_http_method = "ANY"
  uri                     = "https://$${stageVariables.${var.gateway_variable}}/api/tasks"
}

resource "aws_api_gateway_integration" "below" {
  rest_api_id             = var.rest_api_id
  resource_id             = aws_api_gateway_resource.below.id
  http_method             = aws_api_gateway_method.below.http_method
  type                    = "HTTP_PROXY"
  integration_http_method = "ANY"
  uri                     = "https://$${stageVariables.${var.gateway_variable}}/api/tasks/{proxy}"
  request_parameters      = { "integration.request.path.proxy" = "method.request.path.proxy" }
}
