"""The documentation of reconcile; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.compare.reconcile.reconcile"

DOCUMENTATION = r"""
module: reconcile
author: The Task Service team
short_description: Repairs what differs, and only that
description:
  - Finds the rows that differ as verify does, and makes the Task Service's rows equal to Laravel's mapped rows.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.mapping
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Repair what differs
  task_service.migration.reconcile:
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
  description: What was repaired, by table.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
