"""The documentation of promotion; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.traffic.promotion.promotion"

DOCUMENTATION = r"""
module: promotion
author: The Task Service team
short_description: Promotes the Task Service, which then takes all traffic without a canary
description:
  - Gives the stage variable the Task Service's value, then ends and removes the canary, and reads each change back.
  - It is for a stage at 100 percent, so no request changes sides.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.gateway
  - task_service.migration.sides.aws
options:
  one_way:
    description:
      - Whether to mark on the stage that there is no rollback any more.
    type: bool
    default: false
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing. It also refuses what a run would refuse.
    support: full
"""

EXAMPLES = r"""
- name: Promote the Task Service
  task_service.migration.promotion:
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
  description: C(promoted_before), and of the stage when it was last read C(stage) and C(last_updated).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
