"""The documentation of rehearsal_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.rehearsal_gate.rehearsal_gate"

DOCUMENTATION = r"""
module: rehearsal_gate
author: The Task Service team
short_description: Refuses unless the migration was rehearsed
description:
  - Counts the green rehearsals of the mappings in force since the last red one.
  - Once phase 2.1 has begun with the same mappings, it does not ask again.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  rehearsal_directory:
    description:
      - The folder that holds rehearsals.jsonl.
    type: path
    required: true
  rehearsals_required:
    description:
      - How many are needed, one after the other.
    type: int
    required: true
  force:
    description:
      - Whether to continue without them.
    type: bool
    default: false
  reason:
    description:
      - Why, for the journal. Needed with O(force).
    type: str
    default: ''
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check that the migration was rehearsed
  task_service.migration.rehearsal_gate:
"""

RETURN = r"""
msg:
  description: How many there are, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description:
    - C(mappings), their version; C(green) since the last red one; C(required); C(faults) that were met; C(forced) and
      C(reason); and C(to_write), whether this is to be recorded.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
