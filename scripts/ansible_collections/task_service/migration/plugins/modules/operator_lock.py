"""The documentation of operator_lock; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.control.operator_lock.operator_lock"

DOCUMENTATION = r"""
module: operator_lock
author: The Task Service team
short_description: Lets one operator work at a time
description:
  - Holds a lock on Laravel's database until this ansible-playbook ends, however it ends.
  - Fails, with whom and since when, if another operator is at work. In check mode it only looks.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  command:
    description:
      - What the next operator is told is running, such as the name of the playbook.
    type: str
    required: true
  lock_wait_seconds:
    description:
      - How long to wait for another operator to end, or for a database that can't be reached.
    type: float
    default: 0
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: One operator at a time
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
