"""The documentation of provision; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.prepare.provision.provision"

DOCUMENTATION = r"""
module: provision
author: The Task Service team
short_description: Creates or destroys the Task Service's database with Terraform
description:
  - Applies or destroys C(module.task_service_rds) of a Terraform environment.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
options:
  terraform_directory:
    description:
      - The Terraform environment.
    type: path
    required: true
  terraform_variables:
    description:
      - Input variables for Terraform.
    type: dict
    default: {}
  terraform_backend:
    description:
      - Settings of the environment's backend, where its state is kept.
    type: dict
    default: {}
  state:
    description:
      - Whether it is there.
    type: str
    choices: [present, absent]
    default: present
  allow_destroy:
    description:
      - Whether this environment may be destroyed at all; without it C(state=absent) is refused.
    type: bool
    default: false
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Create the Task Service's database
  task_service.migration.provision:
"""

RETURN = r"""
msg:
  description: What was done, or would be, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description: C(outputs), Terraform's outputs.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
