"""The documentation of sync_switch; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.control.sync_switch.sync_switch"

DOCUMENTATION = r"""
module: sync_switch
author: The Task Service team
short_description: Turns the sync of one direction on or off
description:
  - The switch lies in Laravel's database. The sync asks it before every batch, so it is in force within a second.
  - One that was never turned is off. It moves no traffic.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  name:
    description:
      - Which one. C(sync_forward) is from Laravel to the Task Service, C(sync_backward) the way back.
    type: str
    choices: [sync_forward, sync_backward]
    required: true
  state:
    description:
      - How it shall stand.
    type: str
    choices: ["on", "off"]
    required: true
  reason:
    description:
      - Why, for whoever finds it so.
    type: str
    default: ""
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Let changes flow to the Task Service
  task_service.migration.sync_switch:
    name: sync_forward
    state: "on"
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
  description: C(name), C(is_on), and C(was_on) before.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
