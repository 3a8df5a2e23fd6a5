"""The documentation of sync_switch; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.control.sync_switch.sync_switch"

DOCUMENTATION = r"""
module: sync_switch
author: The Task Service team
short_description: Switches the sync of one direction on or off
description:
  - The switch is in Laravel's database. The sync reads it before every batch, so it is in force within a second.
  - A switch that was never set is off. It moves no traffic.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  name:
    description:
      - Which sync. C(sync_forward) is from Laravel to the Task Service, C(sync_backward) the other direction.
    type: str
    choices: [sync_forward, sync_backward]
    required: true
  state:
    description:
      - Its new position.
    type: str
    choices: ["on", "off"]
    required: true
  reason:
    description:
      - Why, for the record.
    type: str
    default: ""
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Switch the sync on
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
