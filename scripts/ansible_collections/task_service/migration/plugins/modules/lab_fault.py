"""The documentation of lab_fault; run_core runs the core function that it names."""

CORE_FUNCTION = "lab.fault.fault"

DOCUMENTATION = r"""
module: lab_fault
author: The Task Service team
short_description: Lets an application of the lab fail, or ends its fault
description:
  - Switches one fault of one side's application on and its others off, while everything runs. It lasts until another
    is chosen or the application ends.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.lab
options:
  lab_fault:
    description:
      - V(none) ends every fault.
      - V(errors) answers a share of the requests 500, V(slow) lets each wait for a second, V(down) closes each
        connection without an answer, and V(garbage) answers each with a page of HTML.
    type: str
    choices: [none, errors, slow, down, garbage]
    required: true
  lab_fault_percent:
    description:
      - The share of requests that V(errors) answers 500.
    type: float
    default: 50
  lab_fault_side:
    description:
      - Whose application it is.
    type: str
    choices: [task_service, laravel]
    default: task_service
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Let one of twenty requests to the Task Service fail
  task_service.migration.lab_fault:
    lab_fault: errors
    lab_fault_percent: 5
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
  description: The faults, as PUT /lab/faults takes them.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
