"""The documentation of target_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.target_gate.target_gate"

DOCUMENTATION = r"""
module: target_gate
author: The Task Service team
short_description: Refuses an environment that is not the inventory's
description:
  - Compares the AWS account, the region and both databases with the inventory.
  - Asks for the environment's name where the inventory says so.
  - Only reads, in check mode too.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.aws
options:
  migration_environment:
    description:
      - Which environment the inventory describes.
    type: str
    required: true
  laravel_system_identifier:
    description:
      - The system identifier of Laravel's database server, empty to take it from the stamp.
    type: str
    default: ""
  task_service_system_identifier:
    description:
      - The system identifier of the Task Service's database server, empty to take it from the stamp.
    type: str
    default: ""
  aws_account_id:
    description:
      - The number of the AWS account, empty if it is not to be compared.
    type: str
    default: ""
  environment_confirmation:
    description:
      - Whether the environment's name is to be typed.
    type: str
    choices: [ask, none]
    default: none
  answer:
    description:
      - The environment's name as it was typed; C(ask) to learn whether there is a question.
    type: str
    default: ""
  is_rollback:
    description:
      - Whether this is a rollback, which asks no question and continues past what does not answer.
    type: bool
    default: false
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check that this is production
  task_service.migration.target_gate:
    answer: production
"""

RETURN = r"""
msg:
  description: Which environment this is, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description:
    - C(compared), what answered where, by C(aws), C(laravel) and C(task_service); C(asks) and C(question).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
