"""The documentation of lab_users; run_core runs the function of the core that it names."""

CORE_FUNCTION = "lab.users.users"

DOCUMENTATION = r"""
module: lab_users
author: The Task Service team
short_description: Lets users come to the lab's gateway, or sends them away
description:
  - Starts or ends live traffic through the lab's gateway. Every request and what came of it is kept in a ledger.
  - When the users go, it says how they fared, and what became of the writes that they were told are done.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.lab
options:
  lab_users:
    description:
      - V(on) lets them come, V(off) sends them away.
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
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Let users come
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
  description: Where the ledger is; when the users have gone, the account of it too.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
