"""The documentation of laravel_flag; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.traffic.laravel_flag.laravel_flag"

DOCUMENTATION = r"""
module: laravel_flag
author: The Task Service team
short_description: Switches Laravel's own flag TASK_SERVICE_ENABLED on or off
description:
  - For a Laravel that has such a flag. It waits until the value is in force, which takes minutes on ECS.
  - It is never used to move traffic.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.aws
options:
  state:
    description:
      - C(on) is the value C(true), C(off) the value C(false).
    type: str
    choices: ["on", "off"]
    required: true
  laravel_flag:
    description:
      - How it is switched, by C(kind). C({}) or C(none) for a Laravel that has no flag.
      - "C(ecs): C(parameter), C(cluster), C(service), C(timeout_seconds) (900)."
      - "C(ssm_command): C(targets) (tags and their values), C(directory), C(parameter), C(user), C(reload),
        C(timeout_seconds) (300)."
      - "C(command): C(command) and C(look) as lists of words, C(directory), C(timeout_seconds) (60)."
    type: dict
    required: true
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing. On EC2 it uses a command that only reads.
    support: full
"""

EXAMPLES = r"""
- name: Switch the flag on
  task_service.migration.laravel_flag:
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
  description: C(kind), C(value), and C(lacking), what had to be changed.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
