"""The documentation of quiesce; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.sync.quiesce.quiesce"

DOCUMENTATION = r"""
module: quiesce
author: The Task Service team
short_description: Waits until the application of one side writes no more tasks
description:
  - Waits until requests under way have ended and no background job writes. Writes of the sync do not count.
  - Fails after five times C(canary_quiet_seconds) and a minute, and names the tables that are written.
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
      - How long it must have written no task: at least as long as the longest request.
    type: float
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Wait until Laravel writes no more tasks
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
