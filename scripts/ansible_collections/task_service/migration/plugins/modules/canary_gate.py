"""The documentation of canary_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.canary.canary_gate.canary_gate"

DOCUMENTATION = r"""
module: canary_gate
author: The Task Service team
short_description: Judges the canary once
description:
  - Compares what was measured at the weight in force with the bounds. The result is pass, fail or inconclusive.
  - It only reads, and refuses unless every finding passes. What was not measured never passes.
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
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Judge the canary at 25 %
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
