"""The documentation of soak_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.canary.soak_gate.soak_gate"

DOCUMENTATION = r"""
module: soak_gate
author: The Task Service team
short_description: Refuses unless the Task Service has served alone for long enough
description:
  - Asks API Gateway, the journal, the fence and both change logs. Laravel wrote no task while the fence was
    there.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.gateway
  - task_service.migration.sides.aws
options:
  soak_hours:
    description:
      - How long it must have.
    type: float
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the time at 100 percent
  task_service.migration.soak_gate:
"""

RETURN = r"""
msg:
  description: How long it has, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description: C(since), C(hours), C(promoted_at), C(fenced_since) and C(pending), the entries on either log.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
