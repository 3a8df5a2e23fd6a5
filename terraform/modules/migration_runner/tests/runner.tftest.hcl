# Only plans and mock applies: nothing is created, and no account is needed.
mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/task-service-staging-runner" }
  }
}

variables {
  name                  = "task-service-staging-runner"
  vpc_id                = "vpc-1"
  subnet_id             = "subnet-1"
  laravel_database      = { security_group_id = "sg-laravel", port = 5432 }
  task_service_database = { security_group_id = "sg-task-service-database", port = 5433 }
  policy_arns           = { traffic = "arn:aws:iam::123456789012:policy/task-service-staging-traffic" }
}

run "it_accepts_no_connections" {
  command = plan

  assert {
    condition     = !aws_instance.this.associate_public_ip_address
    error_message = "No public address."
  }
  assert {
    condition     = aws_iam_role_policy_attachment.sessions.policy_arn == "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    error_message = "Sessions use Session Manager."
  }
}

run "its_role_and_its_disk_stay_its_own" {
  command = plan

  assert {
    condition     = aws_instance.this.metadata_options[0].http_tokens == "required" && aws_instance.this.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "IMDSv2, only on this machine."
  }
  assert {
    condition     = aws_instance.this.root_block_device[0].encrypted && aws_instance.this.disable_api_termination
    error_message = "Encrypted, and not ended by mistake."
  }
}

run "it_reaches_both_databases_and_https" {
  command = plan

  assert {
    condition     = aws_vpc_security_group_egress_rule.https.from_port == 443 && aws_vpc_security_group_egress_rule.https.to_port == 443
    error_message = "HTTPS to everywhere, and no other port."
  }
  assert {
    condition = {
      for rule in [aws_vpc_security_group_egress_rule.laravel, aws_vpc_security_group_egress_rule.task_service] :
      rule.referenced_security_group_id => rule.to_port if rule.from_port == rule.to_port
    } == { sg-laravel = 5432, sg-task-service-database = 5433 }
    error_message = "Each database by its group."
  }
}

run "it_may_do_what_it_is_given" {
  command = plan

  assert {
    condition     = aws_iam_role_policy_attachment.this["traffic"].policy_arn == var.policy_arns.traffic
    error_message = "The policies of the module iam."
  }
}
