"""The documentation of journal; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.journal.journal"

DOCUMENTATION = r"""
module: journal
author: The Task Service team
short_description: Records in the journal what was done
description:
  - Appends an entry to the journal in Laravel's database, with the time, the operator and the evidence. It never
    reports a change.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  phase:
    description:
      - Which phase.
    type: str
    required: true
  item:
    description:
      - Which item of the phase; C(phase) is the phase as a whole.
    type: str
    required: true
  result:
    description:
      - How it went.
    type: str
    required: true
    choices: [started, done, failed, refused]
  evidence:
    description:
      - Figures and keys, never a row's content.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Record that phase 2.1 is done
  task_service.migration.journal:
    phase: "2.1"
    item: phase
    result: done
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
  description: Whether it was recorded.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
