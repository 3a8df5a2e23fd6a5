terraform {
  required_version = ">= 1.10"

  # lab-up.yml passes the path of its lab's state (-backend-config=path=...); this is the default lab's.
  backend "local" {
    path = "../../../.lab/terraform/terraform.tfstate"
  }
}
