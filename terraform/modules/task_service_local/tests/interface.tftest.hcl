# Only plans: no server is created. tests/integration/test_terraform_local.py applies it.
variables {
  identifier = "task-service-local"
  port       = 15432
  python     = "/usr/bin/python3"
  directory  = "/tmp/lab/task_service"
}

run "tells_what_every_module_of_the_interface_tells" {
  command = plan

  assert {
    condition     = output.address == "127.0.0.1" && output.port == 15432
    error_message = "The server is on this machine, at the port asked for."
  }
  assert {
    condition     = output.db_name == "task_service" && output.username == "task_service_admin"
    error_message = "The defaults are the plan's database and login."
  }
  assert {
    condition     = output.identifier == "task-service-local" && output.engine_version_actual == "18"
    error_message = "Name and version are outputs."
  }
  assert {
    condition     = output.master_user_secret_arn == null && output.passfile == "/tmp/lab/task_service/passfiles/task_service_admin"
    error_message = "The password is in a passfile, and nowhere else."
  }
}

run "holds_no_password" {
  command = plan

  assert {
    condition     = alltrue([for name in keys(terraform_data.this.input) : !strcontains(name, "password")])
    error_message = "What is in input is in the state."
  }
}

run "a_port_that_rds_would_refuse_is_refused" {
  command = plan
  variables {
    port = 80
  }
  expect_failures = [var.port]
}

run "a_relative_directory_is_refused" {
  command = plan
  variables {
    directory = ".lab/task_service"
  }
  expect_failures = [var.directory]
}

run "an_identifier_that_rds_would_refuse_is_refused" {
  command = plan
  variables {
    identifier = "Task_Service"
  }
  expect_failures = [var.identifier]
}

run "a_superusers_name_is_refused" {
  command = plan
  variables {
    username = "postgres"
  }
  expect_failures = [var.username]
}

run "a_database_name_with_a_quote_is_refused" {
  command = plan
  variables {
    db_name = "task\"service"
  }
  expect_failures = [var.db_name]
}

run "a_minor_version_is_refused" {
  command = plan
  variables {
    engine_version = "18.6"
  }
  expect_failures = [var.engine_version]
}

run "no_interpreter_is_refused" {
  command = plan
  variables {
    python = ""
  }
  expect_failures = [var.python]
}
