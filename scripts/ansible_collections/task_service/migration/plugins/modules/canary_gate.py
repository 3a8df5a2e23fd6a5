"""The documentation of canary_gate; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.canary.canary_gate.canary_gate"

DOCUMENTATION = r"""
module: canary_gate
author: The Task Service team
short_description: Judges the canary once
description:
  - Holds what was measured at the weight in force against the bounds, with a verdict pass, fail or inconclusive.
  - It looks only, and refuses unless everything is a pass. What was not measured never is.
  - At weight 0 there is no traffic to judge, and the Task Service's API is asked directly.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.health
  - task_service.migration.sides.api
  - task_service.migration.sides.aws
  - task_service.migration.sides.canary
options:
  quarantine_signed_off:
    description:
      - Kinds of quarantined rows that are accepted, each with the reason.
    type: dict
    default: {}
  weight:
    description:
      - The share of the traffic that goes to the Task Service now, in percent.
    type: int
    required: true
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Judge what the canary did at 25 %
  task_service.migration.canary_gate:
    weight: 25
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
  description: C(verdict), C(findings), C(figures) and C(confidence_percent).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
