"""The documentation of catch_up; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.runtime.catch_up.catch_up"

DOCUMENTATION = r"""
module: catch_up
author: The Task Service team
short_description: Waits until the sync runs and has caught up
description:
  - Waits until the sync reports that it runs, few entries are on its change log and none of them is old.
  - Backward it also waits until one of the Task Service's tasks was carried, which it puts on the log as a proof; this
    changes no row.
  - Fails if nothing improves for a minute. What was not carried stays on the change log.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.health
options:
  task_service_dsn:
    description:
      - How to reach the Task Service's database, for the backward sync; as C(laravel_dsn).
    type: str
    default: ""
    no_log: true
  direction:
    description:
      - Which sync.
    type: str
    choices: [forward, backward]
    default: forward
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Wait until the sync has caught up
  task_service.migration.catch_up:
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
  description: C(state), C(pending), C(oldest_ms), C(lag_p95_ms), C(seconds) and C(proof), the task's id.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
