"""The documentation of bulk_copy; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.prepare.bulk_copy.bulk_copy"

DOCUMENTATION = r"""
module: bulk_copy
author: The Task Service team
short_description: Copies every task that may cross to the Task Service
description:
  - Copies key range by key range; each range is one transaction with its line in the ledger, so that a run
    that was killed continues where it stopped.
  - Rows that may not cross are quarantined with the reason. Refuses to begin without the change log.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.mapping
options:
  copy_workers:
    description:
      - How many streams copy at once.
    type: int
    default: 2
  copy_chunk_keys:
    description:
      - How many ids one transaction spans.
    type: int
    default: 100000
  copy_chunk_seconds:
    description:
      - How long one transaction may take; ranges that take longer are made smaller.
    type: float
    default: 30
  copy_max_laravel_load:
    description:
      - The number of other active sessions on Laravel's database above which the copy pauses; 0 is no limit.
    type: int
    default: 0
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Copy the tasks
  task_service.migration.bulk_copy:
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
  description: C(tables), each with C(expected), C(copied), C(quarantined) and C(waiting).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
