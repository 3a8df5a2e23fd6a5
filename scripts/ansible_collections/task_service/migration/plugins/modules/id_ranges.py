"""The documentation of id_ranges; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.prepare.id_ranges.id_ranges"

DOCUMENTATION = r"""
module: id_ranges
author: The Task Service team
short_description: Keeps the ids of both sides apart
description:
  - Moves the Task Service's sequences to an offset that Laravel's stay below, and checks that they do.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
options:
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
- name: Keep the ids apart
  task_service.migration.id_ranges:
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
  description: The sequences, with their next values.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
