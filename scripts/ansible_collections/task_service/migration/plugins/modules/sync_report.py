"""The documentation of sync_report; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.report.sync_report.sync_report"

DOCUMENTATION = r"""
module: sync_report
author: The Task Service team
short_description: Writes the sync report
description:
  - Reports how fast changes cross, over time, and which conflicts and dead letters there are, as Markdown and JSON.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.reports
options:
  service_directory:
    description:
      - The folder in which the sync keeps the lag over time.
    type: path
    required: true
  quarantine_signed_off:
    description:
      - Kinds of quarantined rows that are accepted, each with the reason; they do not count as dead letters.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Reads, and writes no report.
    support: full
"""

EXAMPLES = r"""
- name: Write the sync report
  task_service.migration.sync_report:
"""

RETURN = r"""
msg:
  description: The figures in one line, and where the report is.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description: What the report says, for machines.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
