# The part that only production has, apart from stays.tf.
locals {
  environment         = "production"
  deletion_protection = true
  state_key           = "task-service/production.tfstate"
}

# The bucket and its region come from the inventory (terraform_backend), because a backend cannot use variables.
terraform {
  backend "s3" {
    key          = "task-service/production.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}
