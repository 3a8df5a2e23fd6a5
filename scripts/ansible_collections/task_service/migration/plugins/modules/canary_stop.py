"""The documentation of canary_stop; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.canary.canary_stop.canary_stop"

DOCUMENTATION = r"""
module: canary_stop
author: The Task Service team
short_description: Decides what a failed step of phase 2.4 rolls back, and describes it
description:
  - A promotion that was started is continued by the same command, and not rolled back.
options:
  weight:
    description:
      - The weight of the step, in percent.
    type: int
    required: true
  back_to:
    description:
      - The weight that a failure returns to, in percent.
    type: int
    required: true
  promoted:
    description:
      - Whether the stage was promoted by this phase before the run.
    type: bool
    required: true
  weight_was_set:
    description:
      - Whether the run had started to set the weight.
    type: bool
    required: true
  promotion_was_started:
    description:
      - Whether the run had started the promotion.
    type: bool
    required: true
  cause:
    description:
      - The error that stopped the run.
    type: str
    default: ""
  rollback_error:
    description:
      - The error of the automatic rollback, empty if there was none.
    type: str
    default: ""
  weight_now:
    description:
      - The share that was read after the failure, in percent.
    type: float
    default: 100.0
attributes:
  check_mode:
    description: Changes nothing, with or without check mode.
    support: full
"""

EXAMPLES = r"""
- name: Decide what is rolled back
  task_service.migration.canary_stop:
    weight: 25
    back_to: 5
    promoted: false
    weight_was_set: true
    promotion_was_started: false
    cause: the gate is red
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
  description: C(opens_fence) and C(lowers_weight), what is rolled back; C(message), the failure in one line.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
