resource "aws_cloudwatch_log_group" "access" {
  name              = "/aws/apigateway/${var.name}"
  retention_in_days = 90
}

# API Gateway writes the canary's lines here and also to the group above; count only one of them.
resource "aws_cloudwatch_log_group" "canary" {
  name              = "${aws_cloudwatch_log_group.access.name}/Canary"
  retention_in_days = 90
}

resource "aws_iam_role" "logging" {
  for_each = toset(var.sets_account_logging ? ["this"] : [])

  name        = "${var.name}-gateway-logs"
  description = "API Gateway writes its logs with this role"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "apigateway.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "logging" {
  for_each = aws_iam_role.logging

  role       = each.value.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

# The setting of the account in this region.
resource "aws_api_gateway_account" "this" {
  for_each = aws_iam_role.logging

  cloudwatch_role_arn = each.value.arn
  depends_on          = [aws_iam_role_policy_attachment.logging]
}
