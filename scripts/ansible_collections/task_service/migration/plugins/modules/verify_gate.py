"""The documentation of verify_gate; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.compare.verify_gate.verify_gate"

DOCUMENTATION = r"""
module: verify_gate
author: The Task Service team
short_description: Refuses unless both sides were proven equal, as they are now
description:
  - Looks at the last verdict of phase 2.2, at its age, and whether a table changed since.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
options:
  verdict_max_age_hours:
    description:
      - How old the verdict may be.
    type: float
    required: true
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Lean on the last verdict
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
