"""The documentation of bake; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.canary.bake.bake"

DOCUMENTATION = r"""
module: bake
author: The Task Service team
short_description: Judges a new weight of the canary until it is proven
description:
  - Waits until the weight is in force everywhere, then judges it again and again, with one line of figures each time.
  - It fails as soon as a finding fails, or when the figures have proven nothing by the end. It moves no
    traffic; the playbook decides what follows from a failure.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.health
  - task_service.migration.sides.api
  - task_service.migration.sides.aws
  - task_service.migration.sides.metrics
  - task_service.migration.sides.canary
  - task_service.migration.sides.probes
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
  canary_bake_seconds:
    description:
      - How long the weight is judged before it is kept.
    type: float
    default: 1800
  canary_hold_seconds:
    description:
      - How much longer it is held while the figures prove nothing.
    type: float
    default: 7200
  canary_probe_rate:
    description:
      - How many reads a second are sent through the gateway meanwhile.
    type: float
    default: 0.0
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
- name: Judge 25 % for half an hour, with twenty test reads a second
  task_service.migration.bake:
    weight: 25
    canary_probe_rate: 20
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
  description: C(verdict), C(findings), C(figures) and C(confidence_percent) of the last check; C(seconds), C(looks),
    C(probes) and C(probes_failed).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
