"""The documentation of cleanup; run_core runs the function of the core that it names."""

CORE_FUNCTION = "task_migration.finish.cleanup.cleanup"

DOCUMENTATION = r"""
module: cleanup
author: The Task Service team
short_description: Takes everything temporary away, and names what is left
description:
  - Takes the change log off both sides, with the tables and triggers of the sync and of the copy. From then on there
    is no way back by data.
  - Laravel's task tables stay, fenced, and so do the journal and rows that exist nowhere else.
  - Ends only when the catalogs of both databases hold nothing temporary any more.
extends_documentation_fragment:
  - task_service.migration.sides.inventory
  - task_service.migration.sides.laravel
  - task_service.migration.sides.task_service
options:
  migration_environment:
    description:
      - Part of the services' names.
    type: str
    required: true
  service_kind:
    description:
      - What kept the services alive.
    type: str
    choices: [systemd, process]
    required: true
  service_directory:
    description:
      - The folder for the configuration of the syncs. The lag over time stays there.
    type: path
    required: true
  fence_until:
    description:
      - The day on which somebody decides what becomes of the tables that Laravel keeps, such as 2026-12-31. Nothing
        happens by itself then.
    type: str
    required: true
  lock_timeout_seconds:
    description:
      - How long a lock on one of the tables may be waited for; it is tried a few times.
    type: float
    default: 2
attributes:
  check_mode:
    description: Looks and predicts, and touches nothing.
    support: full
"""

EXAMPLES = r"""
- name: Leave nothing temporary behind
  task_service.migration.cleanup:
"""

RETURN = r"""
msg:
  description: What was done, or would be, in one line.
  type: str
  returned: always
lines:
  description: What goes, and what stays.
  type: list
  elements: str
  returned: success
details:
  description: C(removed) and C(kept) by side, and C(fence_until).
  type: dict
  returned: success
refused:
  description: Whether it failed before anything was changed.
  type: bool
  returned: failure
"""
