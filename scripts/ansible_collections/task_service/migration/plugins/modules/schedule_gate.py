"""The documentation of schedule_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.schedule_gate.schedule_gate"

DOCUMENTATION = r"""
module: schedule_gate
author: The Task Service team
short_description: Checks whether today is within the schedule
description:
  - Outside the window any answer but C(yes) is refused. In check mode it only warns.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.schedule
options:
  phase:
    description:
      - Which phase is to be run.
    type: str
    required: true
  weight:
    description:
      - The weight of phase 2.4, 0 for none. Weights have days of their own.
    type: int
    default: 0
  answer:
    description:
      - The operator's answer; C(ask) to learn whether there is a question.
    type: str
    default: ''
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check that phase 2.3 is planned for today
  task_service.migration.schedule_gate:
    phase: "2.3"
"""

RETURN = r"""
msg:
  description: The window and today, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description:
    - C(off_days), how many days too late, negative for too early; C(asks) and C(question); and C(evidence), for the
      journal.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
