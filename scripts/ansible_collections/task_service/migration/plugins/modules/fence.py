"""The documentation of fence; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.sync.fence.fence"

DOCUMENTATION = r"""
module: fence
author: The Task Service team
short_description: Creates or removes the fence on Laravel's task tables
description:
  - Behind the fence only the sync writes Laravel's task tables; everyone can read them.
  - A user can still be deleted, with all of their tasks.
  - It is created on all tables at once, when the writers that are under way have committed.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  state:
    description:
      - Whether it is there.
    type: str
    choices: [present, absent]
    default: present
  lock_timeout_seconds:
    description:
      - How long to wait for a lock on one of Laravel's tables; it is tried a few times.
    type: float
    default: 2
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Fence Laravel's task tables
  task_service.migration.fence:
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
  description: C(tables) whose fence was created or removed, and C(since), when the fence was complete.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
