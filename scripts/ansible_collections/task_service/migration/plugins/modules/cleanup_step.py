"""The documentation of cleanup_step; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.finish.cleanup_step.cleanup_step"

DOCUMENTATION = r"""
module: cleanup_step
author: The Task Service team
short_description: Works out what a run of phase 2.5 starts with
description:
  - Reads from the journal what an earlier run did, because what was removed cannot be asked any more.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options: {}
attributes:
  check_mode:
    description: Changes nothing, with or without check mode.
    support: full
"""

EXAMPLES = r"""
- name: Work out what this run starts with
  task_service.migration.cleanup_step:
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
  description: C(is_past_return), C(is_synced), C(is_cleaned), C(is_committed), C(has_alarms) and C(is_ended).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
