"""The documentation of promotion; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.traffic.promotion.promotion"

DOCUMENTATION = r"""
module: promotion
author: The Task Service team
short_description: Lets all traffic go to the Task Service without a canary
description:
  - Gives the stage variable the Task Service's value, then ends and removes the canary, and reads each change back.
  - It is for a stage at 100 percent, so that nobody's requests move.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.gateway
  - task_service.migration.sides.aws
options:
  one_way:
    description:
      - Whether to say on the stage, too, that there is no way back any more.
    type: bool
    default: false
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing. It refuses what would be refused.
    support: full
"""

EXAMPLES = r"""
- name: The end of the canary
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
  description: C(promoted_before), and of the stage as it was last read C(stage) and C(last_updated).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
