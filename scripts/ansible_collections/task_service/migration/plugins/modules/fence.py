"""The documentation of fence; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.sync.fence.fence"

DOCUMENTATION = r"""
module: fence
author: The Task Service team
short_description: Puts the fence on Laravel's task tables, or takes it off
description:
  - Behind the fence nobody writes Laravel's task tables but the sync; everybody may read them.
  - A user can still be deleted, with all that is hers.
  - It is put on when the writers that are under way have committed, on all tables at once.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  state:
    description:
      - Whether it shall stand.
    type: str
    choices: [present, absent]
    default: present
  lock_timeout_seconds:
    description:
      - How long a lock on one of Laravel's tables may be waited for; it is tried a few times.
    type: float
    default: 2
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Let nobody but the sync write tasks in Laravel
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
  description: C(tables) whose fence was put on or taken off, and C(since) when the whole fence stands.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
