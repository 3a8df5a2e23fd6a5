"""The documentation of lab_rehearsal; run_core runs the function of the core that it names."""

CORE_FUNCTION = "lab.rehearsal.rehearsal.rehearsal"

DOCUMENTATION = r"""
module: lab_rehearsal
author: The Task Service team
short_description: Rehearses the whole journey in labs of its own
description:
  - Types the playbooks of every phase, each time in a new lab, under live users and with one fault that is meant.
  - Writes one line for each to rehearsals.jsonl, and keeps what was printed, and the reports.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
options:
  times:
    description:
      - How many rehearsals, one after the other, each with another fault. It stops at the first that is not green.
    type: int
    default: 1
  laravel_dump:
    description:
      - A file of pg_dump's that the first lab is filled from. Empty for none.
    type: path
    default: ''
  rehearsal_directory:
    description:
      - The folder for all of it. It is made if it is not there.
    type: path
    required: true
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Three rehearsals
  task_service.migration.lab_rehearsal:
    times: 3
"""

RETURN = r"""
msg:
  description: How they went, in one line.
  type: str
  returned: always
lines:
  description: Each of them, with its figures.
  type: list
  elements: str
  returned: success
details:
  description: C(rehearsals), as they stand in rehearsals.jsonl.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
