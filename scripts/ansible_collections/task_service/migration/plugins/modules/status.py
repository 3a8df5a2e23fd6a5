"""The documentation of status; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.report.status.status"

DOCUMENTATION = r"""
module: status
author: The Task Service team
short_description: Shows how far the migration is and what to type next
description:
  - Reads the journal, the verdicts and both databases, and shows the checklist of the phases.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.reports
  - task_service.migration.sides.gateway
  - task_service.migration.sides.aws
  - task_service.migration.sides.schedule
options:
  phases:
    description:
      - The phases to show; all, if empty.
    type: list
    elements: str
    default: []
  verdict_max_age_hours:
    description:
      - How old a result of verify may be for a later gate.
    type: float
    default: 24
  consistency_every_seconds:
    description:
      - How often both sides are compared while the sync runs.
    type: int
    default: 3600
  change_log_warn_entries:
    description:
      - How many entries the change log may hold before there is a warning.
    type: int
    default: 100000
  sync_health_ports:
    description:
      - The loopback ports on which the syncs report their health, C(forward) and C(backward).
    type: dict
    default: {}
  canary_confidence_percent:
    description:
      - How certain an error rate has to be.
    type: float
    default: 95
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Show how far the migration is
  task_service.migration.status:
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
  description: The items of the checklist, and the next command.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
