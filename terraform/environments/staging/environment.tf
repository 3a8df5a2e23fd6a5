# What is staging's own.
# deletion_protection is off because phase 2.2 destroys the database and makes it again, as a test.
locals {
  environment         = "staging"
  deletion_protection = false
  state_key           = "task-service/staging.tfstate"
}

# The bucket and its region come from the inventory (terraform_backend): a backend takes no variables.
terraform {
  backend "s3" {
    key          = "task-service/staging.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}
