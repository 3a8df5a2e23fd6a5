"""The documentation of lab_down; run_core runs the core function that it names."""

CORE_FUNCTION = "lab.down.down"

DOCUMENTATION = r"""
module: lab_down
author: The Task Service team
short_description: Removes the lab
description:
  - Stops every server and process of the lab and removes its folder.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.lab
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Remove the lab
  task_service.migration.lab_down:
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
  description: What was stopped.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
