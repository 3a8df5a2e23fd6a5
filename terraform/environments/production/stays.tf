# Production's database is destroyed by nobody, nor made anew: prevent_destroy can't depend on a variable, and in the module it would hold
# in staging too, where destroying is a test. This stands upon the database, so whatever takes that away would have to take this along, and
# the plan is refused before anything is done. To be rid of the database after all, take this file away first.
resource "terraform_data" "stays" {
  triggers_replace = module.task_service_rds.resource_id

  lifecycle {
    prevent_destroy = true
  }
}
