"""The documentation of lab_up; run_core runs the core function that it names."""

CORE_FUNCTION = "lab.up.up"

DOCUMENTATION = r"""
module: lab_up
author: The Task Service team
short_description: Starts the lab
description:
  - Creates Laravel's database on a real server of its own, with the plan's tables and rows, starts the two
    applications, the AWS emulator and the gateway in front of them, and writes endpoints.json.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.lab
options:
  lab_tasks:
    description:
      - How many tasks Laravel's database holds.
    type: int
    default: 150
  laravel_dump:
    description:
      - A file of pg_dump, custom format or SQL, to fill Laravel's database from instead. Empty for none.
    type: path
    default: ''
  lab_secure:
    description:
      - Whether the runbook reaches the databases by TLS alone, with a login for each purpose, as in production.
    type: bool
    default: false
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Start the lab
  task_service.migration.lab_up:
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
  description: The addresses of the lab.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
