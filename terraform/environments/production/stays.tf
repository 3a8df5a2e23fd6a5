# Prevents that production's database is destroyed or replaced. prevent_destroy cannot depend on a variable, and in the
# module it would apply to staging too, where destroying the database is a test. This resource depends on the database, so
# a plan that destroys the database has to destroy this too, and is refused. To remove the database, delete this file first.
resource "terraform_data" "stays" {
  triggers_replace = module.task_service_rds.resource_id

  lifecycle {
    prevent_destroy = true
  }
}
