"""The documentation of weight; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.traffic.weight.weight"

DOCUMENTATION = r"""
module: weight
author: The Task Service team
short_description: Sends a share of the task routes' traffic to the Task Service
description:
  - Brings API Gateway's stage to the weight from any state that an interrupted run left, and reads each change back.
  - It needs nothing but GetStage and UpdateStage on that stage, so that nothing else can stop a rollback.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.gateway
  - task_service.migration.sides.aws
options:
  weight:
    description:
      - The share of the requests that goes to the Task Service, in percent.
      - The weights are declared in task_migration/parameters.yml.
    type: int
    required: true
  force:
    description:
      - Whether a weight out of order is meant. The one in force, the next one up and 0 are in order.
    type: bool
    default: false
  reason:
    description:
      - Why a weight is out of order.
    type: str
    default: ""
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing. It also refuses what a run would refuse.
    support: full
"""

EXAMPLES = r"""
- name: Send a twentieth of the requests to the Task Service
  task_service.migration.weight:
    weight: 5
"""

RETURN = r"""
msg:
  description: What was done, or would be, in one line.
  type: str
  returned: always
lines:
  description: The calls, in order.
  type: list
  elements: str
  returned: success
details:
  description: C(before) and C(weight) in percent, C(promoted_before), and of the stage when it was last read C(stage)
    and C(last_updated).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
