# The part that only staging has.
# deletion_protection is off because phase 2.2 destroys and recreates the database as a test.
locals {
  environment         = "staging"
  deletion_protection = false
  state_key           = "task-service/staging.tfstate"
}

# The bucket and its region come from the inventory (terraform_backend), because a backend cannot use variables.
terraform {
  backend "s3" {
    key          = "task-service/staging.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}
