"""The documentation of watch_outcome; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.canary.watch_outcome.watch_outcome"

DOCUMENTATION = r"""
module: watch_outcome
author: The Task Service team
short_description: Describes how the rollback of a breach ended
description:
  - Returns the alert about the rollback, and the failure that ends the watch.
options:
  rolls_back:
    description:
      - The phase that is rolled back, 2.4 for the canary and 2.3 for the dual write.
    type: str
    required: true
    choices: ['2.4', '2.3']
  cause:
    description:
      - The condition that was breached.
    type: str
    required: true
  rollback_error:
    description:
      - The error of the rollback, empty if there was none.
    type: str
    default: ""
  traffic_was_moved:
    description:
      - Whether all traffic goes to Laravel now.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing, with or without check mode.
    support: full
"""

EXAMPLES = r"""
- name: Describe the rollback
  task_service.migration.watch_outcome:
    rolls_back: "2.4"
    cause: "error rate: 7 %"
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
  description: C(subject) and C(message) of the alert, and C(failure), the whole in one line.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
