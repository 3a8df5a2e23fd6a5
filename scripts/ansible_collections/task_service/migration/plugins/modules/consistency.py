"""The documentation of consistency; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.compare.consistency.consistency"

DOCUMENTATION = r"""
module: consistency
author: The Task Service team
short_description: Compares both sides while they are in use
description:
  - Carries nothing and blocks no one. Rows that are on their way are compared again, until only differences are
    left that no change explains.
  - Keeps the result in Laravel's database, and sends an alert when it changes. Fails when the sides are not equal.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.mapping
  - task_service.migration.sides.alerts
  - task_service.migration.sides.aws
  - task_service.migration.sides.metrics
options:
  quarantine_signed_off:
    description:
      - Kinds of quarantined rows that are accepted, each with the reason.
    type: dict
    default: {}
  migration_environment:
    description:
      - The environment that published metrics name.
    type: str
    default: ""
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Compare both sides now
  task_service.migration.consistency:
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
  description: C(passed), C(tables) as verify returns them, C(reasons) and C(keys).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
