"""The documentation of migration_report; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.report.migration_report.migration_report"

DOCUMENTATION = r"""
module: migration_report
author: The Task Service team
short_description: Writes all that is known of the migration on one page
description:
  - Writes one self-contained HTML page for people, in English or Japanese, and the same as JSON for machines.
  - Only reads, and can be run at any time.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.reports
  - task_service.migration.sides.gateway
  - task_service.migration.sides.aws
  - task_service.migration.sides.schedule
options:
  migration_environment:
    description:
      - Which environment is migrated, for the title.
    type: str
    required: true
  report_language:
    description:
      - The language of the page. Entries of the journal are shown as they were written.
    type: str
    choices: [en, ja]
    default: en
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
    description: Reads, and writes no report.
    support: full
"""

EXAMPLES = r"""
- name: Write the migration report in Japanese
  task_service.migration.migration_report:
    report_language: ja
"""

RETURN = r"""
msg:
  description: How far the migration is, in one line, and where the page is.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description: The paths of the page and of the JSON, and how many items and success criteria are met.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
