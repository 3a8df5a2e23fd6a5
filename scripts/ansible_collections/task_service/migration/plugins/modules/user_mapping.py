"""The documentation of user_mapping; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.prepare.user_mapping.user_mapping"

DOCUMENTATION = r"""
module: user_mapping
author: The Task Service team
short_description: Maps Laravel's users to Cognito users
description:
  - Creates C(cognito_user_mapping) in Laravel's database and keeps it equal to C(users.cognito_sub) with triggers, or
    removes both.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
options:
  state:
    description:
      - Whether it is there.
    type: str
    choices: [present, absent]
    default: present
  lock_timeout_seconds:
    description:
      - How long to wait for a lock on one of Laravel's tables; it is tried a few times.
    type: float
    default: 2
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Map Laravel's users to Cognito users
  task_service.migration.user_mapping:
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
  description: How many users have a sub, and how many were registered.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
