# A real PostgreSQL server on 127.0.0.1. Its password is made beside it and never comes here, so it is not in the state.
resource "terraform_data" "this" {
  input = {
    address        = "127.0.0.1"
    port           = var.port
    db_name        = var.db_name
    username       = var.username
    identifier     = var.identifier
    engine_version = var.engine_version
    python         = var.python
    directory      = var.directory
  }

  # A change of input alone runs no provisioner. Not the interpreter: that may change under a server that stays.
  triggers_replace = [var.port, var.db_name, var.username, var.engine_version, var.directory]

  # Takes away what it finds there first: after a failed or killed run nobody else would.
  provisioner "local-exec" {
    command = <<-EOT
      "$PYTHON" -m lab.servers.postgres_server create --directory "$DIRECTORY" --port "$PORT" \
        --database "$DATABASE" --owner "$OWNER" --engine-version "$ENGINE_VERSION"
    EOT
    environment = {
      PYTHON         = self.input.python
      DIRECTORY      = self.input.directory
      PORT           = self.input.port
      DATABASE       = self.input.db_name
      OWNER          = self.input.username
      ENGINE_VERSION = self.input.engine_version
    }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "\"$PYTHON\" -m lab.servers.postgres_server destroy --directory \"$DIRECTORY\""
    environment = {
      PYTHON    = self.input.python
      DIRECTORY = self.input.directory
    }
  }
}
