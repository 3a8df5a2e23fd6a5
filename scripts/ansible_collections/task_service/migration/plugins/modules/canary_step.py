"""The documentation of canary_step; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.canary.canary_step.canary_step"

DOCUMENTATION = r"""
module: canary_step
author: The Task Service team
short_description: Works out what a run of phase 2.4 starts with
description:
  - Reads the journal and the fence.
  - Returns where this step started, the weight that a failure returns to, and what is proven already.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  weight:
    description:
      - The weight to go to, in percent.
    type: int
    required: true
  before:
    description:
      - The weight that is active, in percent.
    type: int
    required: true
  promoted_before:
    description:
      - Whether the stage was promoted when it was read.
    type: bool
    required: true
  canary_probe_rate:
    description:
      - How many reads a second are sent through the gateway. With reads, the weight is judged again.
    type: float
    default: 0.0
  force:
    description:
      - Whether a weight out of order is meant.
    type: bool
    default: false
  reason:
    description:
      - Why a weight is out of order.
    type: str
    default: ""
attributes:
  check_mode:
    description: Changes nothing, with or without check mode.
    support: full
"""

EXAMPLES = r"""
- name: Work out what this run starts with
  task_service.migration.canary_step:
    weight: 25
    before: 5
    promoted_before: false
"""

RETURN = r"""
msg:
  description: What was worked out, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description: C(before), C(came_from) and C(back_to) in percent; C(promoted), C(proven), C(ended), C(has_work),
    C(judges_weight_before) and C(needs_approval); C(command), what the operator types
    for this step; C(evidence), for the journal.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
