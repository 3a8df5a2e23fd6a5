"""The documentation of uninstall; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.finish.uninstall.uninstall"

DOCUMENTATION = r"""
module: uninstall
author: The Task Service team
short_description: Removes everything of the runbook from Laravel's database
description:
  - Removes the change log, the mapping of users and the journal. The journal is exported to the report directory
    first.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.reports
options:
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
- name: Remove everything of the runbook
  task_service.migration.uninstall:
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
  description: What was removed.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
