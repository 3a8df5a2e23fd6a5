"""The documentation of preflight; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.prepare.preflight.preflight"

DOCUMENTATION = r"""
module: preflight
author: The Task Service team
short_description: Finds what would stop the migration, before anything is changed
description:
  - Reads both databases and names every finding with its count, some keys and the fix.
  - Fails when a finding stops the migration; writes all of them to preflight.json in the report directory.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.mapping
  - task_service.migration.sides.reports
options:
  title_policy:
    description:
      - What to do with titles longer than the Task Service's column.
    type: str
    choices: [widen, refuse]
    default: widen
  id_policy:
    description:
      - What to do with ids beyond INTEGER.
    type: str
    choices: [refuse, bigint]
    default: refuse
  task_service_id_offset:
    description:
      - Where the Task Service's own ids begin.
    type: int
    default: 1000000000
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Look for what would stop the migration
  task_service.migration.preflight:
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
  description: The findings, each with C(name), C(level), C(count), C(sample_keys) and C(fix).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
