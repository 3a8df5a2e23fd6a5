"""The documentation of database_roles; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.postgres.database_roles.database_roles"

DOCUMENTATION = r"""
module: database_roles
author: The Task Service team
short_description: Creates or drops the database roles of one side
description:
  - One login for each purpose, with its password and its privileges.
  - Where the side's connection string has no C({role}) in it, one login does everything, and nothing is created.
  - A database that does not exist yet gets its roles when it is created.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
options:
  side:
    description:
      - Whose database.
    type: str
    choices: [laravel, task_service]
    required: true
  laravel_admin_dsn:
    description:
      - How to reach Laravel's database as a login that may create roles.
    type: str
    default: ""
    no_log: true
  task_service_admin_dsn:
    description:
      - How to reach the Task Service's database as a login that may create roles.
    type: str
    default: ""
    no_log: true
  state:
    description:
      - All of them, none, or none but the one that reads the journal (C(reader)).
      - C(renewed) is as C(present), with new passwords for those that cannot log in from here.
    type: str
    choices: [present, renewed, absent, reader]
    default: present
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Create the logins of the migration on Laravel's database
  task_service.migration.database_roles:
    side: laravel
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
  description: The C(roles) that were created or dropped, those that are C(there) now, and how many C(grants) were
    missing.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
