"""The documentation of task_watch; the seam runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.watch.watch"

DOCUMENTATION = r"""
module: task_watch
author: The Task Service team
short_description: Watches the dual write until a condition is breached
description:
  - Judges the conditions again and again, with one line of figures each time. It holds no lock, and changes
    nothing but the journal.
  - It ends when a condition is breached, when the sync is turned off, or when its time is over.
extends_documentation_fragment:
  - task_service.migration.sides.laravel
  - task_service.migration.sides.health
  - task_service.migration.sides.api
  - task_service.migration.sides.triggers
  - task_service.migration.sides.alerts
  - task_service.migration.sides.aws
options:
  watch_interval_seconds:
    description:
      - How often it judges; each time by the requests since.
    type: float
    default: 30
  watch_seconds:
    description:
      - For how long; 0 is for ever.
    type: float
    default: 0
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Watch the dual write for an hour
  task_service.migration.task_watch:
    laravel_dsn: "{{ laravel_dsn }}"
    sync_health_ports: {forward: 9801, backward: 9802}
    aws_region: ap-northeast-1
    watch_seconds: 3600
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
  description: C(breached), C(cause), C(conditions), C(requests) and C(errors).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
