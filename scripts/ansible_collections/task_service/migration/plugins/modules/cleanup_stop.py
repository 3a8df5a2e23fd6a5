"""The documentation of cleanup_stop; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.finish.cleanup_stop.cleanup_stop"

DOCUMENTATION = r"""
module: cleanup_stop
author: The Task Service team
short_description: Describes the failure of a run of phase 2.5
description:
  - Reads the journal to say whether a rollback is still possible. If it cannot be read, the message says so.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  cause:
    description:
      - The error that stopped the run.
    type: str
    required: true
  journal_error:
    description:
      - Why the failure could not be recorded, empty if it was.
    type: str
    default: ""
attributes:
  check_mode:
    description: Changes nothing, with or without check mode.
    support: full
"""

EXAMPLES = r"""
- name: Describe the failure
  task_service.migration.cleanup_stop:
    cause: the sync is still running
"""

RETURN = r"""
msg:
  description: What was worked out, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description: C(message), the failure in one line.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
