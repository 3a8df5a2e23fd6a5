"""The documentation of alarms; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.finish.alarms.alarms"

DOCUMENTATION = r"""
module: alarms
author: The Task Service team
short_description: Sets up the alarms that stay after the migration
description:
  - Creates a CloudWatch alarm for each bound of the plan, corrects what differs, and reads the alarms back.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.aws
options:
  migration_environment:
    description:
      - Part of the alarms' names.
    type: str
    required: true
  metric_source:
    description:
      - Where the figures are, as for the canary. Alarms are created only for figures in CloudWatch.
    type: dict
    required: true
  canary_error_rate_percent:
    description:
      - The share of failed requests that the API must stay below.
    type: float
    default: 0.1
  canary_p95_ms:
    description:
      - The p95 that the API must stay below.
    type: float
    default: 200
  canary_cpu_percent:
    description:
      - The CPU that the database must stay below.
    type: float
    default: 70
  alert_topic_arn:
    description:
      - The SNS topic that the alarms notify, empty for none.
    type: str
    default: ""
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Set up the alarms
  task_service.migration.alarms:
"""

RETURN = r"""
msg:
  description: What was done, or would be, in one line.
  type: str
  returned: always
lines:
  description: Each alarm, and the topic that it notifies.
  type: list
  elements: str
  returned: success
details:
  description: C(alarms), their names, none where the figures are not in CloudWatch; and C(made), how many were written.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
