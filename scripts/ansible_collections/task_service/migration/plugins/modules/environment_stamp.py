"""The documentation of environment_stamp; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.environment_stamp.environment_stamp"

DOCUMENTATION = r"""
module: environment_stamp
author: The Task Service team
short_description: Stamps both databases with the environment's name
description:
  - Writes the stamp that target_gate compares, as the comment of the schema task_migration.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
options:
  migration_environment:
    description:
      - Which environment the inventory describes.
    type: str
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Stamp both databases
  task_service.migration.environment_stamp:
"""

RETURN = r"""
msg:
  description: What was stamped, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description:
    - C(stamped), the sides that were; in check mode, that would be.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
