"""The documentation of soak_gate; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.canary.soak_gate.soak_gate"

DOCUMENTATION = r"""
module: soak_gate
author: The Task Service team
short_description: Refuses unless the Task Service has served alone for long enough
description:
  - Asks API Gateway, the journal, the fence and both change logs. Laravel wrote no task for as long as the fence has
    stood.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.gateway
  - task_service.migration.sides.aws
options:
  soak_hours:
    description:
      - For how long.
    type: float
    required: true
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Two days at 100 percent
  task_service.migration.soak_gate:
"""

RETURN = r"""
msg:
  description: For how long it has, in one line.
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
