"""The documentation of phase_gate; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.phase_gate.phase_gate"

DOCUMENTATION = r"""
module: phase_gate
author: The Task Service team
short_description: Refuses unless a phase has the state that it must have
description:
  - Reads the journal. What a rollback undid no longer counts.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  phase:
    description:
      - Which phase, such as 2.3.
    type: str
    required: true
  required_state:
    description:
      - The state that it must have. C(rolled back) also holds for a phase that never began; C(any) only looks.
    type: str
    choices: [done, rolled back, any]
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check that the dual write is on
  task_service.migration.phase_gate:
    phase: "2.3"
    required_state: done
"""

RETURN = r"""
msg:
  description: How far the phase is, in one line.
  type: str
  returned: always
lines:
  description: Further lines for the operator.
  type: list
  elements: str
  returned: success
details:
  description: C(state); C(done), the items that were done; and C(begun), what an interrupted run had begun with.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
