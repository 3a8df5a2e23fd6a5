"""The documentation of verify; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.compare.verify.verify"

DOCUMENTATION = r"""
module: verify
author: The Task Service team
short_description: Verifies that both sides hold the same
description:
  - Compares every row and every column by fingerprints made in each database, and names what differs by
    table, key and column.
  - Keeps the result for later gates and writes the consistency report. Fails if anything differs, or if
    quarantined rows are not signed off.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.mapping
  - task_service.migration.sides.reports
options:
  quarantine_signed_off:
    description:
      - Kinds of quarantined rows that are accepted, each with the reason.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Verify that both sides hold the same
  task_service.migration.verify:
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
  description: C(passed), and for each table what was expected, copied, quarantined, missing, extra and different.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
