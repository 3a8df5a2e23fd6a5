"""The documentation of capture; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.sync.capture.capture"

DOCUMENTATION = r"""
module: capture
author: The Task Service team
short_description: Creates or removes the change log of a side's task tables
description:
  - The triggers of the change log record the key of every row that is written, so that nothing is lost while
    rows are copied.
  - Removing them loses what the log holds.
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
      - Whose writes are logged.
    type: str
    choices: [laravel, task_service]
    default: laravel
  state:
    description:
      - Whether it is there.
    type: str
    choices: [present, absent]
    default: present
  lock_timeout_seconds:
    description:
      - How long to wait for a lock on a table; it is tried a few times.
    type: float
    default: 2
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Log every write in Laravel
  task_service.migration.capture:

- name: Log every write in the Task Service as well
  task_service.migration.capture:
    side: task_service
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
  description: The tables whose triggers changed, and the length of the change log.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
