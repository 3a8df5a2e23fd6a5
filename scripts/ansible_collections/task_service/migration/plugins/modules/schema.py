"""The documentation of schema; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.prepare.schema.schema"

DOCUMENTATION = r"""
module: schema
author: The Task Service team
short_description: Creates the Task Service's tables
description:
  - Runs the bundled SQL, which also records itself as Sequelize's migrations, or sequelize-cli in a given
    directory.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.task_service
options:
  schema_runner:
    description:
      - What creates the tables.
    type: str
    choices: [sql, sequelize]
    default: sql
  sequelize_directory:
    description:
      - Where sequelize-cli is run; needed with C(schema_runner=sequelize).
    type: str
    default: ''
  title_policy:
    description:
      - Whether the title's column is widened to 255 characters.
    type: str
    choices: [widen, refuse]
    default: widen
  id_policy:
    description:
      - Whether the ids' columns become BIGINT.
    type: str
    choices: [refuse, bigint]
    default: refuse
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Create the Task Service's tables
  task_service.migration.schema:
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
  description: What was created, and what was there.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
