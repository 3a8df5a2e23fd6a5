"""The documentation of cleanup; run_core runs the core function that it names."""

CORE_FUNCTION = "task_migration.finish.cleanup.cleanup"

DOCUMENTATION = r"""
module: cleanup
author: The Task Service team
short_description: Removes everything temporary, and names what stays
description:
  - Removes the change log of both sides, with the tables and triggers of the sync and of the copy. From then on
    there is no rollback by data.
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
      - What kept the services running.
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
      - The day until which Laravel keeps its fenced task tables, such as 2026-12-31. Nothing is removed
        automatically then.
    type: str
    required: true
  lock_timeout_seconds:
    description:
      - How long to wait for a lock on a table; it is tried a few times.
    type: float
    default: 2
attributes:
  check_mode:
    description: Predicts what would be done, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Remove everything temporary
  task_service.migration.cleanup:
"""

RETURN = r"""
msg:
  description: What was done, or would be, in one line.
  type: str
  returned: always
lines:
  description: What is removed, and what stays.
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
