"""The documentation of drain; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.sync.drain.drain"

DOCUMENTATION = r"""
module: drain
author: The Task Service team
short_description: Carries everything that is on the change logs
description:
  - Reads each row that was written and makes the other side's the same, until the logs are empty.
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
- name: Drain the change logs
  task_service.migration.drain:
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
  description: What was carried, and what is still on the logs.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
