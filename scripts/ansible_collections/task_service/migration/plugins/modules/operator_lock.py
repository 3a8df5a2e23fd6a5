"""The documentation of operator_lock; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.operator_lock.operator_lock"

DOCUMENTATION = r"""
module: operator_lock
author: The Task Service team
short_description: Lets one operator work at a time
description:
  - Holds a lock on Laravel's database until this ansible-playbook ends, however it ends.
  - Fails if another operator is at work, and names them and the time. In check mode it only looks.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  command:
    description:
      - What another operator sees as running, such as the name of the playbook.
    type: str
    required: true
  lock_wait_seconds:
    description:
      - How long to wait for another operator to end, or for a database that cannot be reached.
    type: float
    default: 0
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Take the operator's lock
  task_service.migration.operator_lock:
    command: phase-2.1-prepare
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
  description: C(holder_pid), the process that holds the lock.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
