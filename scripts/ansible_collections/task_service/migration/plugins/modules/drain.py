"""The documentation of drain; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.sync.drain.drain"

DOCUMENTATION = r"""
module: drain
author: The Task Service team
short_description: Carries over what the change log holds
description:
  - Reads each row that was written anew and makes the Task Service's the same, until the log is empty.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.mapping
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Carry over what was written meanwhile
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
  description: What was carried over and what is still on the log.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
