"""The documentation of lab_fault; the seam runs the function of the core that it names."""

CORE_FUNCTION = "lab.fault.fault"

DOCUMENTATION = r"""
module: lab_fault
author: The Task Service team
short_description: Makes the lab's Task Service fail, or be well again
description:
  - Switches one fault of the lab's Task Service app on and the others off, while everything runs. It lasts until
    another is chosen or the app ends.
extends_documentation_fragment:
  - task_service.migration.sides.lab
options:
  lab_fault:
    description:
      - V(none) ends every fault.
      - V(errors) answers every other request 500, V(slow) lets each wait for a second, V(down) closes each connection
        without an answer, and V(garbage) answers each with a page of HTML.
    type: str
    choices: [none, errors, slow, down, garbage]
    required: true
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Let every other request to the Task Service fail
  task_service.migration.lab_fault:
    lab_directory: .lab
    lab_fault: errors
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
