module "task_service_rds" {
  source = "../../modules/task_service_local"

  identifier = "task-service-local"
  db_name    = "task_service"
  username   = "task_service_admin"
  port       = var.port
  python     = var.python
  directory  = var.directory
}
