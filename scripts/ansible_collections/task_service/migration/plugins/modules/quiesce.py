"""The documentation of quiesce; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.sync.quiesce.quiesce"

DOCUMENTATION = r"""
module: quiesce
author: The Task Service team
short_description: Waits until the application of one side writes no task any more
description:
  - Waits until requests under way have ended and nobody writes in the background. What the sync writes does not count.
  - Fails after five times C(canary_quiet_seconds) and a minute, naming the tables that are written.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  task_service_dsn:
    description:
      - How to reach the Task Service's database, for its side; as C(laravel_dsn).
    type: str
    default: ""
    no_log: true
  side:
    description:
      - Whose application.
    type: str
    choices: [laravel, task_service]
    default: laravel
  canary_quiet_seconds:
    description:
      - For how long it must have written no task, the longest request at least.
    type: float
    required: true
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Wait until Laravel writes no task any more
  task_service.migration.quiesce:
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
  description: C(seconds) waited, and C(entries) that were written meanwhile.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
