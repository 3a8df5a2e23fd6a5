terraform {
  required_version = ">= 1.10"

  # The driver names the state of the lab in use (-backend-config=path=...); this is the default lab's.
  backend "local" {
    path = "../../../.lab/terraform/terraform.tfstate"
  }
}
