"""The documentation of watch; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.canary.watch.watch"

DOCUMENTATION = r"""
module: watch
author: The Task Service team
short_description: Watches the dual write and the canary until a rollback condition is met
description:
  - Checks the conditions again and again, with one line of figures each time. It holds no lock, and changes
    nothing but the journal.
  - While traffic goes to the Task Service it judges the canary too, as its gate does; a failure rolls the canary back
    first, and never the dual write with it.
  - It ends when a condition is met, when the sync is switched off, or when its time is over. While traffic is moved
    it does not end because the sync is off.
  - While another operator is at work, or Laravel's database is away, there can be no rollback; the watch sends an
    alert and continues.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
  - task_service.migration.sides.health
  - task_service.migration.sides.api
  - task_service.migration.sides.triggers
  - task_service.migration.sides.alerts
  - task_service.migration.sides.aws
  - task_service.migration.sides.metrics
  - task_service.migration.sides.gateway
  - task_service.migration.sides.canary
options:
  quarantine_signed_off:
    description:
      - Kinds of quarantined rows that are accepted, each with the reason.
    type: dict
    default: {}
  watch_interval_seconds:
    description:
      - How often it checks; each time by the requests since.
    type: float
    default: 30
  watch_seconds:
    description:
      - How long; 0 is for ever.
    type: float
    default: 0
  migration_environment:
    description:
      - The environment that published metrics name.
    type: str
    default: ""
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Watch the dual write for an hour
  task_service.migration.watch:
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
  description: C(breached), C(cause), C(takes_back), C(conditions), C(requests) and C(errors); C(takes_back) is "2.4"
    for the canary, "2.3" for the dual write.
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
