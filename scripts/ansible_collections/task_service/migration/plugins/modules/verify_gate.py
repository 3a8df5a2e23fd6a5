"""The documentation of verify_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.compare.verify_gate.verify_gate"

DOCUMENTATION = r"""
module: verify_gate
author: The Task Service team
short_description: Refuses unless the last verification is green and fresh
description:
  - Reads the last result of phase 2.2 and its age, and checks that no table was altered since.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
options:
  verdict_max_age_hours:
    description:
      - How old the result may be.
    type: float
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the last verification
  task_service.migration.verify_gate:
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
  description: C(at) and C(age_seconds).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
