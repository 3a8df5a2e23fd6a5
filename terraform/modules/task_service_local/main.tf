# A PostgreSQL server on 127.0.0.1. Its password is generated in its directory, so it is not in the state.
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

  # A change of the input alone runs no provisioner. The interpreter is left out: it may change while the server remains.
  triggers_replace = [var.port, var.db_name, var.username, var.engine_version, var.directory]

  # First removes what is in the directory, for example after a failed or killed run.
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
