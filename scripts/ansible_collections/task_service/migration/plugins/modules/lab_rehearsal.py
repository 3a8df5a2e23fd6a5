"""The documentation of lab_rehearsal; run_core runs the core function that it names."""

CORE_FUNCTION = "lab.rehearsal.rehearsal.rehearsal"

DOCUMENTATION = r"""
module: lab_rehearsal
author: The Task Service team
short_description: Rehearses the whole migration in labs of its own
description:
  - Runs the playbooks of every phase, each time in a new lab, with live users and one planned fault.
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
      - A file of pg_dump to fill the first lab from. Empty for none.
    type: path
    default: ''
  rehearsal_directory:
    description:
      - The folder for all of it. It is created if it does not exist.
    type: path
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
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
  description: C(rehearsals), as in rehearsals.jsonl.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
