"""The documentation of lab_users; run_core runs the core function that it names."""

CORE_FUNCTION = "lab.users.users"

DOCUMENTATION = r"""
module: lab_users
author: The Task Service team
short_description: Starts or stops the users of the lab's gateway
description:
  - Starts or ends live traffic through the lab's gateway. Every request and its answer is kept in a ledger.
  - When the users stop, it reports how many requests failed, and what became of the writes that were acknowledged.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.lab
options:
  lab_users:
    description:
      - V(on) starts them, V(off) stops them.
    type: str
    choices: ['on', 'off']
    required: true
  lab_users_requests:
    description:
      - How many requests a second they make, half of them writes.
    type: float
    default: 200
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Start the users
  task_service.migration.lab_users:
    lab_users: 'on'
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
  description: Where the ledger is; once the users have stopped, the account of it too.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
