"""The documentation of dual_write_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.canary.dual_write_gate.dual_write_gate"

DOCUMENTATION = r"""
module: dual_write_gate
author: The Task Service team
short_description: Checks once the conditions under which the dual write is rolled back
description:
  - Asks the Task Service's API twenty times, the running sync, the newest consistency check and the change log.
  - What could not be measured is unknown, and never good. Fails if a condition is met or red.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.health
  - task_service.migration.sides.api
  - task_service.migration.sides.triggers
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the rollback conditions
  task_service.migration.dual_write_gate:
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
  description: C(conditions), and C(requests) and C(errors) of the API.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
