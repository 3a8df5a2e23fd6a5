"""The documentation of check_inputs; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.check_inputs.check_inputs"

DOCUMENTATION = r"""
module: check_inputs
author: The Task Service team
short_description: Checks the command line and the inventory
description:
  - Refuses names that the playbook does not know, and says which was probably meant. Refuses values that
    are not valid.
  - Ansible itself accepts any name without a warning.
options:
  playbook:
    description:
      - The name of the playbook, without its ending.
    type: str
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the command line and the inventory
  task_service.migration.check_inputs:
    playbook: phase-2.1-prepare
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
  description: C(typed), the names that were typed.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
